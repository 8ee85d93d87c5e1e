#include "raft/host.h"
void bnd_raft_group_want(struct bnd_raft_host *host, uint64_t gid, const struct bnd_raft_member *members, size_t count) {}
