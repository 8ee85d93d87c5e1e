/* What is wrong with the files of a stopped node. */
#include "tools/doctor.h"

#include "engine/rocks/verify.h"
#include "net/pki.h"
#include "node/metrics.h"
#include "objects/bodies/offline.h"
#include "placement/shard.h"
#include "tools/stopped.h"

#include <stdio.h>
#include <string.h>

#define REFILL                                                                                     \
    "nothing of it may be served: start the node with an empty data directory as a new one "       \
    "(`bindery node replace`), it refills from the other replicas"

#define REPAIRS                                                                                    \
    "nothing of it is served: the node, once started, gives up the groups in which it meets it "   \
    "and fills them from the other replicas by itself (docs/ops/README.md)"

struct offline {
    struct tools_findings *findings;
    struct tools_stopped stopped;
    unsigned shown[2]; /* findings of one kind: only the first ones are told each */
};

enum { SHOWN_MAX = 20 };

/* ---- who it is
 * ---------------------------------------------------------------------------------------------- */

static void check_identity(struct offline *offline) {
    const struct node_identity *identity = &offline->stopped.identity;
    struct bnd_pki_identity proved;
    struct bnd_error err = {0};
    int rv =
        bnd_pki_node_verify(bnd_buf_slice(&identity->ca_cert), bnd_buf_slice(&identity->node_cert),
                            bnd_wall_ms(offline->stopped.env), &proved, &err);
    if (rv == 0 && proved.node != identity->node) {
        rv = BND_FAIL(&err, CORRUPT, "it names node %llu", (unsigned long long)proved.node);
    }
    tools_found(
        offline->findings, rv == 0 ? TOOLS_FINDING_OK : TOOLS_FINDING_BAD, "identity",
        rv == 0 ? NULL : "no other node will talk to it: docs/ops/README.md, Certificates",
        rv == 0 ? "node %llu of the cluster, %s" : "node %llu: its certificate is refused: %s",
        (unsigned long long)identity->node, rv == 0 ? "with a certificate of its CA" : err.message);
    tools_found(offline->findings, TOOLS_FINDING_OK, "disk", NULL, "the file system is %s",
                node_filesystem_name(offline->stopped.data));
}

/* ---- state
 * --------------------------------------------------------------------------------------------------
 */

/* Names the groups whose keys lie in the file. */
static void groups_in(const struct offline *offline, const struct bnd_rocks_damage *damage,
                      char *out, size_t cap) {
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < offline->stopped.groups_count; i++) {
        const struct bnd_raft_offline_group *group = &offline->stopped.groups[i];
        char name[32];
        if (group->slot >= damage->slot_first && group->slot <= damage->slot_last && used < cap) {
            int length = snprintf(out + used, cap - used, "%s%s", used == 0 ? "" : ", ",
                                  tools_group_text(group->gid, name));
            used += length > 0 ? (size_t)length : 0;
        }
    }
}

static void on_damaged_table(void *data, const struct bnd_rocks_damage *damage) {
    struct offline *offline = data;
    char groups[400];
    groups_in(offline, damage, groups, sizeof groups);
    if (offline->shown[0]++ < SHOWN_MAX) {
        tools_found(offline->findings, TOOLS_FINDING_BAD, "state", REPAIRS,
                    "%s (%s) is damaged: %s%s%s", damage->file, damage->family, damage->problem,
                    groups[0] == 0 ? "" : "; it has keys of ", groups);
    }
}

static void check_tables(struct offline *offline) {
    struct bnd_rocks_verification verification = {
        .dir = offline->stopped.state_dir, .damaged = on_damaged_table, .data = offline};
    struct bnd_error err = {0};
    offline->shown[0] = 0;
    if (bnd_rocks_verify(&verification, &err) != 0) {
        tools_found(offline->findings, TOOLS_FINDING_BAD, "state", REPAIRS, "%s", err.message);
    } else if (verification.damaged_files == 0) {
        tools_found(offline->findings, TOOLS_FINDING_OK, "state", NULL,
                    "every block of %llu table files has its checksum",
                    (unsigned long long)verification.files);
    } else if (verification.damaged_files > SHOWN_MAX) {
        tools_found(offline->findings, TOOLS_FINDING_BAD, "state", REPAIRS,
                    "and %llu more damaged files",
                    (unsigned long long)verification.damaged_files - SHOWN_MAX);
    }
}

/* ---- journal
 * ------------------------------------------------------------------------------------------------
 */

static void check_fits(struct offline *offline) {
    const struct tools_stopped *stopped = &offline->stopped;
    bool has_system = false;
    unsigned bad = 0;
    for (size_t i = 0; i < stopped->groups_count; i++) {
        const struct bnd_raft_offline_group *group = &stopped->groups[i];
        char name[32];
        has_system = has_system || bnd_gid_kind(group->gid) == BND_GROUP_SYSTEM;
        if (group->status != 0 && bad++ < SHOWN_MAX) {
            tools_found(offline->findings, TOOLS_FINDING_BAD, "journal and state", REFILL,
                        "%s does not fit together: %s", tools_group_text(group->gid, name),
                        group->why);
        }
    }
    if (bad > SHOWN_MAX) {
        tools_found(offline->findings, TOOLS_FINDING_BAD, "journal and state", REFILL,
                    "and %u more groups", bad - SHOWN_MAX);
    }
    if (bad == 0) {
        tools_found(offline->findings, TOOLS_FINDING_OK, "journal and state", NULL,
                    "%zu groups fit together%s", stopped->groups_count,
                    has_system ? "" : "; group 0 is not among them");
    }
}

/* False: the groups are not known. */
static bool check_journal(struct offline *offline) {
    struct bnd_error err = {0};
    if (tools_stopped_state(&offline->stopped, &err) != 0) {
        tools_found(offline->findings, TOOLS_FINDING_BAD, "state", REFILL,
                    "it cannot be opened: %s", err.message);
        return false;
    }
    if (tools_stopped_groups(&offline->stopped, &err) != 0) {
        tools_found(offline->findings, TOOLS_FINDING_BAD, "journal", REFILL, "%s", err.message);
        return false;
    }
    tools_found(offline->findings, TOOLS_FINDING_OK, "journal", NULL,
                "every batch has its checksum%s",
                offline->stopped.torn_bytes == 0
                    ? ""
                    : "; the last write was cut and will be dropped, which is well");
    check_fits(offline);
    return true;
}

/* ---- bodies
 * -------------------------------------------------------------------------------------------------
 */

static enum tools_severity body_severity(enum bnd_bodies_finding what) {
    return what == BND_BODIES_DAMAGED ? TOOLS_FINDING_BAD : TOOLS_FINDING_WARN;
}

static const char *body_advice(enum bnd_bodies_finding what) {
    return what == BND_BODIES_DAMAGED
               ? "it will not be served; delete the file and start the node: it fetches the body "
                 "from another replica"
               : "the running node fetches it from another replica";
}

static void on_body(void *data, enum bnd_bodies_finding what, const char *path, const char *text) {
    struct offline *offline = data;
    if (offline->shown[what]++ < SHOWN_MAX) {
        tools_found(offline->findings, body_severity(what), "bodies", body_advice(what),
                    what == BND_BODIES_DAMAGED ? "%s is damaged: %s" : "%s is missing: %s", path,
                    text);
    }
}

static void tell_more_bodies(struct offline *offline, enum bnd_bodies_finding what,
                             const char *text) {
    if (offline->shown[what] > SHOWN_MAX) {
        tools_found(offline->findings, body_severity(what), "bodies", body_advice(what),
                    "and %u more are %s", offline->shown[what] - SHOWN_MAX, text);
    }
}

static void check_bodies(struct offline *offline) {
    struct bnd_bodies_check check = {.env = offline->stopped.env,
                                     .state = offline->stopped.state,
                                     .dir = offline->stopped.bodies_dir,
                                     .found = on_body,
                                     .data = offline};
    memset(offline->shown, 0, sizeof offline->shown);
    for (size_t i = 0; i < offline->stopped.groups_count; i++) {
        const struct bnd_raft_offline_group *group = &offline->stopped.groups[i];
        struct bnd_error err = {0};
        if (bnd_gid_kind(group->gid) == BND_GROUP_OBJECTS &&
            bnd_bodies_check_group(&check, group->gid, group->slot, &err) != 0) {
            tools_found(offline->findings, TOOLS_FINDING_BAD, "bodies", REFILL, "%s", err.message);
        }
    }
    tell_more_bodies(offline, BND_BODIES_DAMAGED, "damaged");
    tell_more_bodies(offline, BND_BODIES_MISSING, "missing");
    if (check.damaged == 0) {
        tools_found(offline->findings, TOOLS_FINDING_OK, "bodies", NULL,
                    "%llu of %llu bodies (%.1f MiB) are here and every block has its hash",
                    (unsigned long long)check.present, (unsigned long long)check.referenced,
                    (double)check.bytes / (1 << 20));
    }
}

void tools_doctor_offline(struct tools_findings *findings, const char *data) {
    struct offline offline = {.findings = findings};
    struct bnd_error err = {0};
    int rv = tools_stopped_open(&offline.stopped, data, &err);
    if (rv != 0) {
        tools_found(findings, TOOLS_FINDING_BAD, "data directory",
                    rv == BND_LOCKED ? "stop the node first (systemctl stop bindery), or leave out "
                                       "--data to look at the running cluster"
                    : rv == BND_NOTFOUND
                        ? "name the directory that the node's setting `data` names"
                        : "a node without its identity cannot come back: put the file back, or "
                          "replace the node by a new one (`bindery node replace`)",
                    "%s", err.message);
    } else {
        check_identity(&offline);
        bool known = check_journal(&offline);
        check_tables(&offline);
        if (known) {
            check_bodies(&offline);
        }
    }
    tools_stopped_close(&offline.stopped);
}
