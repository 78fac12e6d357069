// A pointer into a buffer that has moved.
//
// The class of CVE-2016-6309 (OpenSSL 1.1.0a): the buffer for a message is enlarged when a longer one arrives, and the pointer to the message's body, which
// lies in the middle of it, still goes into the old one; what is read from the network is written there.
#include "uaf.h"

#define HEADER 4
#define OLD_BYTES 192

struct reader {
    char *buffer;
    size_t room, have;
    char *body; // into the buffer
};

static void make_room(struct reader *r, size_t bytes) {
    if (bytes <= r->room)
        return;
    char *moved = malloc(bytes);
    memcpy(moved, r->buffer, r->have);
    free(r->buffer);
    r->buffer = moved; // the mistake: `body` stays where it was
    r->room = bytes;
}

int main(void) {
    struct reader r = {malloc(OLD_BYTES), OLD_BYTES, 0, NULL};
    memset(r.buffer, 'h', HEADER);
    r.body = r.buffer + HEADER;
    memcpy(r.body, "the beginning", 13);
    r.have = HEADER + 13;
    make_room(&r, 16384);
    life_goes_on(OLD_BYTES);
    // The rest of the message comes in.
    memcpy(r.body + 13, " and the rest", 14);
    return verdict(!strcmp(r.body, "the beginning and the rest") && spray_is_intact(OLD_BYTES));
}
