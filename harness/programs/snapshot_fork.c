/* Several threads fork while another audits: each child has a heap that works, and each parent finds its own child and no other.
 *
 *     snapshot_fork AUDITS [FORKERS]
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern int gcshim_audit(void) __attribute__((weak));

#define FORKERS_MAX 16

static atomic_int stop, wrong, forks;

static int work_in_child(void)
{
    for (size_t i = 1; i < 2000; i += 7) {
        char *block = malloc(i);
        if (block == NULL)
            return 1;
        memset(block, 1, i);
        free(block);
    }
    /* The child may be audited as well. */
    return gcshim_audit() < 0;
}

static void *fork_again_and_again(void *unused)
{
    (void)unused;
    while (!stop) {
        pid_t child = fork();
        if (child == 0)
            _exit(work_in_child());
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            printf("child %d: status %#x (errno %d)\n", (int)child, status, errno);
            wrong = 1;
        }
        forks++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int audits = argc < 2 ? 0 : atoi(argv[1]), forkers = argc < 3 ? 3 : atoi(argv[2]);
    pthread_t threads[FORKERS_MAX];
    if (forkers < 1 || forkers > FORKERS_MAX)
        return 2;
    for (int i = 0; i < forkers; i++)
        if (gcshim_audit == NULL || pthread_create(&threads[i], NULL, fork_again_and_again, NULL) != 0)
            return 2;
    for (int i = 0; i < audits || forks == 0; i++)
        if (gcshim_audit() != 0) {
            printf("audit %d found something or failed\n", i);
            wrong = 1;
        }
    stop = 1;
    for (int i = 0; i < forkers; i++)
        pthread_join(threads[i], NULL);
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
        printf("a child is left\n");
        wrong = 1;
    }
    return wrong;
}
