/* Configurations: lookups and bytes. Failure modes: the decoder refuses what no core writes. */
#include "raft/configuration.h"

#include "base/assert.h"

#define CONFIGURATION_FORMAT 1

size_t bnd_raft_configuration_find(const struct bnd_raft_configuration *configuration,
                                   uint64_t node) {
    size_t i = 0;
    while (i < configuration->count && configuration->members[i].node != node) {
        i++;
    }
    return i;
}

size_t bnd_raft_configuration_voters(const struct bnd_raft_configuration *configuration) {
    size_t voters = 0;
    for (size_t i = 0; i < configuration->count; i++) {
        voters += configuration->members[i].role == BND_RAFT_VOTER;
    }
    return voters;
}

void bnd_raft_configuration_encode(const struct bnd_raft_configuration *configuration,
                                   struct bnd_buf *out) {
    BND_ASSERT(configuration->count > 0);
    BND_ASSERT(configuration->count <= BND_RAFT_MEMBERS_MAX);
    bnd_buf_u8(out, CONFIGURATION_FORMAT);
    bnd_buf_u8(out, (uint8_t)configuration->count);
    for (size_t i = 0; i < configuration->count; i++) {
        bnd_buf_u64(out, configuration->members[i].node);
        bnd_buf_u8(out, (uint8_t)configuration->members[i].role);
    }
}

int bnd_raft_configuration_decode(struct bnd_slice bytes, struct bnd_raft_configuration *out,
                                  struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_raft_configuration read = {0};
    uint8_t format = bnd_read_u8(&r);
    if (!r.failed && format != CONFIGURATION_FORMAT) {
        return BND_FAIL(err, VERSION, "configuration format %u is not known", format);
    }
    size_t count = bnd_read_u8(&r);
    if (r.failed || count == 0 || count > BND_RAFT_MEMBERS_MAX) {
        return BND_FAIL(err, CORRUPT, "configuration with %zu members", count);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t node = bnd_read_u64(&r);
        uint8_t role = bnd_read_u8(&r);
        if (r.failed || node == 0 || role > BND_RAFT_VOTER) {
            return BND_FAIL(err, CORRUPT, "configuration member %zu is cut or not valid", i);
        }
        if (bnd_raft_configuration_find(&read, node) < read.count) {
            return BND_FAIL(err, CORRUPT, "configuration names a node twice");
        }
        read.members[read.count++] = (struct bnd_raft_member){.node = node, .role = role};
    }
    if (!bnd_reader_done(&r)) {
        return BND_FAIL(err, CORRUPT, "%zu bytes after a configuration", r.rest.len);
    }
    *out = read;
    return 0;
}
