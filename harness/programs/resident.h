// How much of the program is resident.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Now, in KiB.
static inline long resident_kib(void) {
    char text[100] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || !fgets(text, sizeof text, f) || !strchr(text, ' '))
        exit(1);
    fclose(f);
    return strtol(strchr(text, ' '), NULL, 10) * (sysconf(_SC_PAGESIZE) >> 10);
}
