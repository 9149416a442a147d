// All the software of a slot, for tests/boot: the kernel's first program says which slot it lies in and what the boot loader
// has told the kernel, then switches the machine off.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

static void say(const char *what, const char *path) {
    char text[4096];
    int file = open(path, O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    text[length < 0 ? 0 : length] = 0;
    printf("%s%s\n", what, text);
}

int main(void) {
    mount("proc", "/proc", "proc", 0, 0);
    puts("");
    say("program of slot ", "/slot");
    say("started with ", "/proc/cmdline");
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
