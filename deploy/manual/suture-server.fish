# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_suture_server_global_optspecs
    string join \n output= h/help V/version
end

function __fish_suture_server_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_suture_server_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_suture_server_using_subcommand
    set -l cmd (__fish_suture_server_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c suture-server -n "__fish_suture_server_needs_command" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_needs_command" -s V -l version -d 'Print version'
complete -c suture-server -n "__fish_suture_server_needs_command" -f -a "init" -d 'Make a new server: its authority, keys, configuration and the first operator\'s one-time token'
complete -c suture-server -n "__fish_suture_server_needs_command" -f -a "keys" -d 'The online keys, which say what is newest and no more'
complete -c suture-server -n "__fish_suture_server_needs_command" -f -a "operator" -d 'Let somebody in again where an organisation has lost its last operator'
complete -c suture-server -n "__fish_suture_server_needs_command" -f -a "ca" -d 'The certificate authority, and how another takes its place: prepare; hospitals sign a service.json that names both (`suturectl service set`); switch; retire. A running server takes notice when it is started again'
complete -c suture-server -n "__fish_suture_server_needs_command" -f -a "audit" -d 'The audit record: its key, and how long its texts are kept'
complete -c suture-server -n "__fish_suture_server_needs_command" -f -a "run" -d 'Serve until SIGTERM or SIGINT'
complete -c suture-server -n "__fish_suture_server_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l operator -d 'Name of the manufacturer\'s first operator' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and not __fish_seen_subcommand_from list rotate help" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and not __fish_seen_subcommand_from list rotate help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and not __fish_seen_subcommand_from list rotate help" -f -a "list" -d 'Show the public halves of the present and the next ones'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and not __fish_seen_subcommand_from list rotate help" -f -a "rotate" -d 'Prepare the next ones; they sign from the moment at which a root that names them is published. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and not __fish_seen_subcommand_from list rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l repository -d '`catalog` or `approvals/<hospital>` [default: every published repository]' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l again -d 'Make them anew, even if some are prepared already'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the public halves of the present and the next ones'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Prepare the next ones; they sign from the moment at which a root that names them is published. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and not __fish_seen_subcommand_from invite help" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and not __fish_seen_subcommand_from invite help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and not __fish_seen_subcommand_from invite help" -f -a "invite" -d 'Make a token, good once and for a week, for an operator whose organisation has nobody left who could: its last operator\'s certificate or home is lost. It gives no signing key and names no root. It goes on record. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and not __fish_seen_subcommand_from invite help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l hdo -d 'The hospital [default: the manufacturer]' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from invite" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from help" -f -a "invite" -d 'Make a token, good once and for a week, for an operator whose organisation has nobody left who could: its last operator\'s certificate or home is lost. It gives no signing key and names no root. It goes on record. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand operator; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and not __fish_seen_subcommand_from show prepare switch retire help" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and not __fish_seen_subcommand_from show prepare switch retire help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and not __fish_seen_subcommand_from show prepare switch retire help" -f -a "show" -d 'Which authorities there are'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and not __fish_seen_subcommand_from show prepare switch retire help" -f -a "prepare" -d 'Make another one, which is believed and not used yet'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and not __fish_seen_subcommand_from show prepare switch retire help" -f -a "switch" -d 'Let the prepared one certify; the key of the one before is destroyed'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and not __fish_seen_subcommand_from show prepare switch retire help" -f -a "retire" -d 'Believe the former ones no longer: whoever still has a certificate of theirs has to enrol again'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and not __fish_seen_subcommand_from show prepare switch retire help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from prepare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from switch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from retire" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "show" -d 'Which authorities there are'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "prepare" -d 'Make another one, which is believed and not used yet'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "switch" -d 'Let the prepared one certify; the key of the one before is destroyed'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "retire" -d 'Believe the former ones no longer: whoever still has a certificate of theirs has to enrol again'
complete -c suture-server -n "__fish_suture_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and not __fish_seen_subcommand_from key rotate-key prune help" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and not __fish_seen_subcommand_from key rotate-key prune help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and not __fish_seen_subcommand_from key rotate-key prune help" -f -a "key" -d 'Show the key by which operators and devices know the record: they compare it, and refuse another'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and not __fish_seen_subcommand_from key rotate-key prune help" -f -a "rotate-key" -d 'Put another key in its place, which the present one signs: everybody follows by that alone. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and not __fish_seen_subcommand_from key rotate-key prune help" -f -a "prune" -d 'Delete the texts of entries older than a date, two years at least. Digests and tree stay: the record verifies as before, and a kept copy of a text is still proven to have stood in it. It goes on record. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and not __fish_seen_subcommand_from key rotate-key prune help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from key" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from rotate-key" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l before -d 'The first day (UTC) whose entries keep their texts' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "key" -d 'Show the key by which operators and devices know the record: they compare it, and refuse another'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "rotate-key" -d 'Put another key in its place, which the present one signs: everybody follows by that alone. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Delete the texts of entries older than a date, two years at least. Digests and tree stay: the record verifies as before, and a kept copy of a text is still proven to have stood in it. It goes on record. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l config -d 'The configuration that `init` wrote' -r -F
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l data-dir -d 'Directory of keys and objects' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l listen -d 'IP address and port to listen on' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l address -d 'https://host:port that devices and operators use' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l host-names -d 'Further host names for the server\'s certificate, separated by commas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l trust-domain -d 'The domain of all identities' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l database -d 'sqlite:<path> or postgres://user@host/name' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l check-in-secs -d 'When a device is asked to check in again' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l max-connections -d 'Connections at a time' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l delta-sources -d 'From how many earlier releases deltas are prepared; 0: no deltas' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l delta-store-gib -d 'What deltas may take of the object store, in GiB' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l drain-secs -d 'How long calls may go on after a signal to stop' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l log -d 'What is logged' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l log-format -d 'text or json' -r
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -l output -d 'How results are printed' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c suture-server -n "__fish_suture_server_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and not __fish_seen_subcommand_from init keys operator ca audit run help" -f -a "init" -d 'Make a new server: its authority, keys, configuration and the first operator\'s one-time token'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and not __fish_seen_subcommand_from init keys operator ca audit run help" -f -a "keys" -d 'The online keys, which say what is newest and no more'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and not __fish_seen_subcommand_from init keys operator ca audit run help" -f -a "operator" -d 'Let somebody in again where an organisation has lost its last operator'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and not __fish_seen_subcommand_from init keys operator ca audit run help" -f -a "ca" -d 'The certificate authority, and how another takes its place: prepare; hospitals sign a service.json that names both (`suturectl service set`); switch; retire. A running server takes notice when it is started again'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and not __fish_seen_subcommand_from init keys operator ca audit run help" -f -a "audit" -d 'The audit record: its key, and how long its texts are kept'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and not __fish_seen_subcommand_from init keys operator ca audit run help" -f -a "run" -d 'Serve until SIGTERM or SIGINT'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and not __fish_seen_subcommand_from init keys operator ca audit run help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "list" -d 'Show the public halves of the present and the next ones'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "rotate" -d 'Prepare the next ones; they sign from the moment at which a root that names them is published. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from operator" -f -a "invite" -d 'Make a token, good once and for a week, for an operator whose organisation has nobody left who could: its last operator\'s certificate or home is lost. It gives no signing key and names no root. It goes on record. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "show" -d 'Which authorities there are'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "prepare" -d 'Make another one, which is believed and not used yet'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "switch" -d 'Let the prepared one certify; the key of the one before is destroyed'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "retire" -d 'Believe the former ones no longer: whoever still has a certificate of theirs has to enrol again'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "key" -d 'Show the key by which operators and devices know the record: they compare it, and refuse another'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "rotate-key" -d 'Put another key in its place, which the present one signs: everybody follows by that alone. The server may run'
complete -c suture-server -n "__fish_suture_server_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "prune" -d 'Delete the texts of entries older than a date, two years at least. Digests and tree stay: the record verifies as before, and a kept copy of a text is still proven to have stood in it. It goes on record. The server may run'
