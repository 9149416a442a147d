# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_suture_agent_global_optspecs
    string join \n config= output= h/help V/version
end

function __fish_suture_agent_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_suture_agent_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_suture_agent_using_subcommand
    set -l cmd (__fish_suture_agent_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c suture-agent -n "__fish_suture_agent_needs_command" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_needs_command" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -s V -l version -d 'Print version'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "enroll" -d 'Join the hospital: make the device\'s keys here and have them certified. Shows the fingerprint to be compared'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "provision" -d 'Put the factory\'s version into the first slot'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "run" -d 'Work until SIGTERM or SIGINT'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "status" -d 'What runs, what the agent does and what it waits for'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "why" -d 'Only why it is not further: what is wrong, what happens by itself, and what you can do'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "log" -d 'The last things that happened, and what people at the device have said'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "record" -d 'What the device remembers of its server\'s audit record, and what it holds against it'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "hold" -d 'Keep the device from beginning anything until `release`. What is past the switch finishes, or goes back'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "release" -d 'Let it go on: end a hold, or say that the device is checked, and may be in clinical use again or is unfit'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "confirm" -d 'Say that the device may be updated in this slot'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "stop" -d 'Hand a signed stop order or lift, in a file, to the agent: verified first. Exit code 5 where it is refused'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "import" -d 'Hand a stick to the agent: what both sides have signed, for a device without a network. Exit code 5 where it is refused'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "recover" -d 'Say that a held device is in order again, and the agent may go on'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "leave" -d 'Leave the hospital: sold, lent, sent back or scrapped. Wipes keys, roots and record; what runs stays. Only by a person at the device. To join another hospital, run `enroll` with its token'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "doctor" -d 'Test installer, name, route, proxy, TLS, clock and disk'
complete -c suture-agent -n "__fish_suture_agent_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand enroll" -l token -d 'The one-time token from `suturectl device token`. Others on this device see it in the list of processes' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand enroll" -l token-file -d 'A file that holds it; `-` reads it from standard input, where it can be pasted. Nobody else sees it there' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand enroll" -l id -d 'The device\'s id, where the token is for any' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand enroll" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand enroll" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand enroll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand provision" -l manifest -d 'The bundle\'s manifest' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand provision" -l payload -d 'A payload\'s directory or file, as NAME=PATH' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand provision" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand provision" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand provision" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand run" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand run" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand run" -l once -d 'One cycle, then end'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand status" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand status" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand why" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand why" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand log" -l signed -d 'With --verify: the line that the device has signed last, as `suturectl device show` prints it' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand log" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand log" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand log" -l verify -d 'Verify instead that no line of it was edited or removed. Exit code 5 where one was'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand record" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand record" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand record" -l forget -d 'Begin anew with a server whose record does not go on from there, once those who run it have said why. No agent may run meanwhile'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand hold" -l reason -d 'Why; recorded, and shown' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand hold" -l by -d 'Who says it, where many use one account' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand hold" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand hold" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand hold" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand release" -l reason -d 'Why; recorded, and shown' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand release" -l by -d 'Who says it, where many use one account' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand release" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand release" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand release" -l checked -d 'The device was checked after its update, as its maker asks: it goes back to clinical use'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand release" -l unfit -d 'It was checked, and found unfit: the old version comes back'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand confirm" -l by -d 'Who says it, where many use one account' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand confirm" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand confirm" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand confirm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand stop" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand stop" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand import" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand import" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand recover" -l reason -d 'What was done; recorded' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand recover" -l by -d 'Who says it, where many use one account' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand recover" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand recover" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand leave" -l device -d 'The device\'s id, so that it is this one that is meant' -r
complete -c suture-agent -n "__fish_suture_agent_using_subcommand leave" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand leave" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand leave" -l untold -d 'Also where the hospital cannot be told, which then has to revoke the device by itself'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand leave" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand doctor" -l config -d 'The configuration' -r -F
complete -c suture-agent -n "__fish_suture_agent_using_subcommand doctor" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-agent -n "__fish_suture_agent_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "enroll" -d 'Join the hospital: make the device\'s keys here and have them certified. Shows the fingerprint to be compared'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "provision" -d 'Put the factory\'s version into the first slot'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "run" -d 'Work until SIGTERM or SIGINT'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "status" -d 'What runs, what the agent does and what it waits for'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "why" -d 'Only why it is not further: what is wrong, what happens by itself, and what you can do'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "log" -d 'The last things that happened, and what people at the device have said'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "record" -d 'What the device remembers of its server\'s audit record, and what it holds against it'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "hold" -d 'Keep the device from beginning anything until `release`. What is past the switch finishes, or goes back'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "release" -d 'Let it go on: end a hold, or say that the device is checked, and may be in clinical use again or is unfit'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "confirm" -d 'Say that the device may be updated in this slot'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "stop" -d 'Hand a signed stop order or lift, in a file, to the agent: verified first. Exit code 5 where it is refused'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "import" -d 'Hand a stick to the agent: what both sides have signed, for a device without a network. Exit code 5 where it is refused'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "recover" -d 'Say that a held device is in order again, and the agent may go on'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "leave" -d 'Leave the hospital: sold, lent, sent back or scrapped. Wipes keys, roots and record; what runs stays. Only by a person at the device. To join another hospital, run `enroll` with its token'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "doctor" -d 'Test installer, name, route, proxy, TLS, clock and disk'
complete -c suture-agent -n "__fish_suture_agent_using_subcommand help; and not __fish_seen_subcommand_from enroll provision run status why log record hold release confirm stop import recover leave doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
