#include "raft/survey_wire.h"

enum { REPLY_VERSION = 1, FLAG_COMMITTED = 1, FLAG_SUSPENDED = 2 };

void survey_reply_begin(struct bnd_buf *out) {
    bnd_buf_u8(out, REPLY_VERSION);
}

void survey_group_encode(const struct bnd_survey_group *group, struct bnd_buf *out) {
    BND_AUTO_BUF struct bnd_buf members = {0};
    bnd_raft_configuration_encode(&group->configuration, &members);
    bnd_buf_u64(out, group->gid);
    bnd_buf_u64(out, group->term);
    bnd_buf_u64(out, group->commit);
    bnd_buf_u64(out, group->applied);
    bnd_buf_u8(out, (uint8_t)((group->committed ? FLAG_COMMITTED : 0) |
                              (group->time_suspended ? FLAG_SUSPENDED : 0)));
    bnd_buf_bytes(out, bnd_buf_slice(&members));
    out->failed = out->failed || members.failed;
}

int survey_reply_decode(struct bnd_slice bytes,
                        void (*each)(void *data, const struct bnd_survey_group *group),
                        void *data) {
    struct bnd_reader r = bnd_reader(bytes);
    if (bnd_read_u8(&r) != REPLY_VERSION) {
        return BND_CORRUPT;
    }
    while (!bnd_reader_done(&r)) {
        struct bnd_survey_group group = {.gid = bnd_read_u64(&r)};
        group.term = bnd_read_u64(&r);
        group.commit = bnd_read_u64(&r);
        group.applied = bnd_read_u64(&r);
        uint8_t flags = bnd_read_u8(&r);
        group.committed = (flags & FLAG_COMMITTED) != 0;
        group.time_suspended = (flags & FLAG_SUSPENDED) != 0;
        struct bnd_slice members = bnd_read_bytes(&r);
        if (r.failed || flags > (FLAG_COMMITTED | FLAG_SUSPENDED) ||
            bnd_raft_configuration_decode(members, &group.configuration, NULL) != 0) {
            return BND_CORRUPT;
        }
        each(data, &group);
    }
    return 0;
}
