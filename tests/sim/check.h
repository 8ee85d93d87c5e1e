/* Where checkers report: the first of each kind is kept, all are counted. */
#ifndef BND_TESTS_SIM_CHECK_H
#define BND_TESTS_SIM_CHECK_H

#include <stdbool.h>

struct bnd_sim_check {
    unsigned violations; /* of both kinds */
    unsigned divergences;
    bool print; /* each to stderr as it comes */
    char first[400];
    char first_divergence[400];
};

/* Something that must not be. */
void bnd_sim_violation(struct bnd_sim_check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Harm done, as a client or an operator could find it: replicas that differ, a write that is lost.
 */
void bnd_sim_divergence(struct bnd_sim_check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
