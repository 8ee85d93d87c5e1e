/* The rules that keep an SQL database right, each with a bit of bnd_sql_config.rules_off, so that
 * the simulator can show that it is needed. None is ever off in a cluster. */
#ifndef BND_SQL_RULES_H
#define BND_SQL_RULES_H

enum sql_rule {
    SQL_RULE_RELEASE = 1u << 0, /* an answer waits for the commit that it depends on */
    SQL_RULE_CLOSE = 1u << 1, /* the writer's connection is closed when its versions are dropped */
    SQL_RULE_SPOIL = 1u << 2, /* a connection over a view that moved forgets its pages */
    SQL_RULE_BARRIER = 1u << 3, /* a read waits for a read barrier */
    SQL_RULE_TERM = 1u << 4, /* a writer belongs to one term of leadership, and so do its commits */
    SQL_RULE_EPOCH = 1u << 5, /* a reader's connection belongs to one restore epoch and slot */
    SQL_RULE_OUTCOME =
        1u << 6, /* what changed nothing asks the id table whether it was done before */
    /* An id that is under way is not run beside itself. Behind it stands the id table, which has
     * one outcome for both: without it the second only runs for nothing. */
    SQL_RULE_JOIN = 1u << 7,
    /* After an unknown outcome a writer is opened through the log. Behind it stand the bases, and
     * that in its own term nothing is unknown before its id's time is over (FLYING_NS_MAX in raft/
     * is longer than a call's deadline), so that no retry of it can be taken for itself. */
    SQL_RULE_UNSURE = 1u << 8,
    SQL_RULE_BASE = 1u << 9,    /* what was run on a version that was not committed is run again */
    SQL_RULE_PIN = 1u << 10,    /* the retention keeps what a fork stands upon */
    SQL_RULE_CUTOFF = 1u << 11, /* no version below the cutoff is restored, or forked at */
    SQL_RULE_INDEX = 1u << 12, /* a read of no session waits on a follower for the leader's index */
};

#endif
