// A callback that stays registered when its context is freed.
//
// The class of CVE-2021-22901 (curl with OpenSSL): the address of a transfer is given to the TLS library as the argument of its session callback; the connection
// outlives the transfer, and the next session is announced to a transfer that was freed.
#include "uaf.h"

struct transfer {
    char url[48];
    unsigned long sessions;
    struct transfer *share;
};

struct connection {
    void (*on_session)(void *context, unsigned long id);
    void *context;
};

static unsigned long announced;

static void remember_session(void *context, unsigned long id) {
    struct transfer *t = context;
    if (strncmp(t->url, "https://", 8) || t->share != t)
        exit(verdict(0));
    t->sessions += id;
    announced = t->sessions;
}

static struct connection *transfer(struct connection *reused, const char *url) {
    struct transfer *t = malloc(sizeof *t);
    strcpy(t->url, url);
    t->sessions = 100;
    t->share = t;
    struct connection *c = reused;
    if (!c) {
        c = malloc(sizeof *c);
        c->on_session = remember_session;
        c->context = t;
    }
    c->on_session(c->context, 1);
    free(t); // the mistake: the connection is kept for later, and so is the callback
    return c;
}

int main(void) {
    struct connection *kept = transfer(NULL, "https://example.org/");
    life_goes_on(sizeof(struct transfer));
    kept->on_session(kept->context, 10);
    return verdict(announced == 111 && spray_is_intact(sizeof(struct transfer)));
}
