/* Where checkers report: the first violation is kept, all are counted. */
#ifndef BND_TESTS_SIM_CHECK_H
#define BND_TESTS_SIM_CHECK_H

struct bnd_sim_check {
    unsigned violations;
    char first[400];
};

void bnd_sim_violation(struct bnd_sim_check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
