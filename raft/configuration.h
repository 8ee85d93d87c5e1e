/* Who is in a group and what each may do, and the bytes of it on disk and on the wire (SPEC.md,
 * "Raft"). */
#ifndef BND_RAFT_CONFIGURATION_H
#define BND_RAFT_CONFIGURATION_H

#include "base/bytes.h"
#include "base/error.h"

#define BND_RAFT_MEMBERS_MAX 16

/* SPARE: known only. STANDBY: gets the log, does not vote. VOTER: both. The values are on disk. */
enum bnd_raft_role { BND_RAFT_SPARE, BND_RAFT_STANDBY, BND_RAFT_VOTER };

struct bnd_raft_member {
    uint64_t node;
    enum bnd_raft_role role;
};

/* No node twice, none 0. count 0: not known yet (a joiner before its first entry). */
struct bnd_raft_configuration {
    struct bnd_raft_member members[BND_RAFT_MEMBERS_MAX];
    size_t count;
};

/* The place of `node` in the configuration, or count. */
size_t bnd_raft_configuration_find(const struct bnd_raft_configuration *configuration,
                                   uint64_t node);

/* How many voters there are. */
size_t bnd_raft_configuration_voters(const struct bnd_raft_configuration *configuration);

/* Appends the bytes to *out (the caller checks out->failed). The order of members is kept. */
void bnd_raft_configuration_encode(const struct bnd_raft_configuration *configuration,
                                   struct bnd_buf *out);

/* BND_CORRUPT: cut, too long, no or too many members, unknown role, node 0 or twice. BND_VERSION:
 * another format. */
int bnd_raft_configuration_decode(struct bnd_slice bytes, struct bnd_raft_configuration *out,
                                  struct bnd_error *err);

#endif
