# Sourced by the scripts that start servers: ports of this machine, for a while.
# shellcheck shell=bash

# listens PORT: whether somebody does, here.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: prints a port on which nobody listens.
free_port() {
    local candidate
    for candidate in $(shuf -i 20000-32000 -n 50); do
        listens "$candidate" || { echo "$candidate"; return; }
    done
    return 1
}
