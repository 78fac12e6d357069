// State that a signal handler and an exit handler use after it was freed.
//
// The class of CVE-2006-5051 and its return, CVE-2024-6387 (OpenSSH): the handler of the alarm that ends a login works on what the login itself has already
// released. Here a session that ends in time; its alarm is not taken back, and what flushes its journal at exit is not either.
#include "uaf.h"

#include <signal.h>
#include <unistd.h>

struct session {
    char user[24];
    char journal[64];
    volatile sig_atomic_t lines;
};

static struct session *volatile current;
static volatile sig_atomic_t handler_saw;

static void on_alarm(int number) {
    (void)number;
    struct session *s = current;
    handler_saw = s->user[0] == 'a' && s->lines == 2;
    s->lines++;
}

static void flush_at_exit(void) {
    struct session *s = current;
    int whole = handler_saw && s->lines == 3 && !strncmp(s->journal, "login;logout;", 14) && spray_is_intact(sizeof *s);
    int status = verdict(whole);
    fflush(stdout);
    _exit(status);
}

static void login(const char *user) {
    struct session *s = malloc(sizeof *s);
    strcpy(s->user, user);
    strcpy(s->journal, "login;");
    s->lines = 1;
    current = s;
    atexit(flush_at_exit);
    signal(SIGALRM, on_alarm);
}

static void logout(void) {
    struct session *s = current;
    strcat(s->journal, "logout;");
    s->lines = 2;
    free(s); // the mistake: both handlers stay, and so does `current`
}

int main(void) {
    login("alice");
    logout();
    life_goes_on(sizeof(struct session));
    raise(SIGALRM);
    return 0;
}
