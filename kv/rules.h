/* Rules that keep KV's promises, each with a bit that switches it off (bnd_kv_config.rules_off): a
 * test or the simulator shows by that what the rule is for. Never off in the program. */
#ifndef BND_KV_RULES_H
#define BND_KV_RULES_H

enum kv_rule {
    KV_RULE_DIGEST = 1u << 0,    /* the last seconds are compared each second */
    KV_RULE_EXCHANGE = 1u << 1,  /* whole trees are compared each minute and when a peer comes up */
    KV_RULE_SEAL = 1u << 2,      /* pushes of an older epoch, and to a leaver, are refused */
    KV_RULE_FILL = 1u << 3,      /* a newcomer is filled only once it has been equal */
    KV_RULE_LEAVE = 1u << 4,     /* a leaver goes only once every replica has what it has */
    KV_RULE_REFUSE = 1u << 5,    /* new versions below the proposed horizon are refused */
    KV_RULE_CONFIRM = 1u << 6,   /* a horizon is confirmed only after an exchange with all others */
    KV_RULE_WIPE = 1u << 7,      /* a replica left out of a collected horizon wipes and fills */
    KV_RULE_SAME = 1u << 8,      /* records are exchanged only below one collected horizon */
    KV_RULE_NAMESPACE = 1u << 9, /* records of deleted namespaces are refused and dropped */
    KV_RULE_NEWER = 1u << 10,    /* a replica with a newer version refuses a push */
};

#endif
