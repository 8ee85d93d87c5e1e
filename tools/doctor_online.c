/* What is wrong with a running cluster. */
#include "tools/doctor.h"

#include "tools/top_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOCK_WARN_S 0.25
#define CLOCK_BAD_S 0.5 /* a node gives up leadership beyond (architecture 5) */
#define LAG_WARN 10000
#define CERTIFICATE_WARN_S (14 * 86400)
#define CERTIFICATE_BAD_S (2 * 86400)
#define FDS_WARN 16384

struct online {
    struct tools_findings *findings;
    const struct tools_fleet *fleet;
};

static const char *subject_of(const struct tools_node *node, char out[48]) {
    (void)snprintf(out, 48, "%s %lld", node->gateway ? "gateway" : "node", node->id);
    return out;
}

static long long number(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

/* ---- each node
 * ---------------------------------------------------------------------------------------------- */

static void check_disk(const struct online *online, const struct tools_node *node,
                       const char *subject) {
    double free_bytes = tools_metric(&node->metrics, "bindery_disk_free_bytes", -1);
    double size_bytes = tools_metric(&node->metrics, "bindery_disk_size_bytes", -1);
    size_t count = 0;
    const struct tools_sample *about =
        tools_metrics_named(&node->metrics, "bindery_disk_info", &count);
    struct bnd_slice type =
        about == NULL ? bnd_slice_str("") : tools_label(about->labels, "filesystem");
    if (free_bytes >= 0 && size_bytes > 0) {
        double share = free_bytes / size_bytes;
        tools_found(online->findings,
                    share < 0.05   ? TOOLS_FINDING_BAD
                    : share < 0.15 ? TOOLS_FINDING_WARN
                                   : TOOLS_FINDING_OK,
                    subject, share < 0.15 ? "add space, or nodes and let data move" : NULL,
                    "%.0f %% of its disk is free (%.1f GiB)", 100 * share, free_bytes / (1 << 30));
    }
    static const char *const doubtful[] = {"tmpfs", "nfs", "fuse", "cifs", "smb", "overlay"};
    for (size_t i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++) {
        if (bnd_slice_eq(type, bnd_slice_str(doubtful[i]))) {
            tools_found(online->findings, TOOLS_FINDING_WARN, subject,
                        "put the data directory on a local ext4 or xfs",
                        "its data is on %s, which need not keep what was synced", doubtful[i]);
        }
    }
}

static void check_process(const struct online *online, const struct tools_node *node,
                          const char *subject) {
    double fds_max = tools_metric(&node->metrics, "process_max_fds", 0);
    double fds = tools_metric(&node->metrics, "process_open_fds", 0);
    bool near = fds > 0.8 * fds_max;
    if (fds_max > 0) {
        tools_found(online->findings,
                    near                 ? TOOLS_FINDING_BAD
                    : fds_max < FDS_WARN ? TOOLS_FINDING_WARN
                                         : TOOLS_FINDING_OK,
                    subject,
                    near || fds_max < FDS_WARN ? "raise LimitNOFILE (the unit has 65536)" : NULL,
                    "%.0f of %.0f file descriptors are open", fds, fds_max);
    }
    if (tools_metric(&node->metrics, "bindery_io_uring", 1) == 0) {
        tools_found(online->findings, TOOLS_FINDING_WARN, subject,
                    "allow io_uring (kernel.io_uring_disabled, seccomp of a container)",
                    "io_uring is refused: files are written through threads, more slowly");
    }
}

static void check_bodies(const struct online *online, const struct tools_node *node,
                         const char *subject) {
    double missing = tools_metric(&node->metrics, "bindery_bodies_missing", 0);
    double corrupt = tools_metric(&node->metrics, "bindery_bodies_corrupt_total", 0);
    if (missing > 0) {
        tools_found(online->findings, TOOLS_FINDING_WARN, subject,
                    "it fetches them from other replicas; if the number stays, look which are down",
                    "%.0f bodies of objects are missing", missing);
    }
    if (corrupt > 0) {
        tools_found(online->findings, TOOLS_FINDING_WARN, subject,
                    "they were not served and are fetched again; look at the disk's own health",
                    "%.0f reads of bodies found corrupt bytes since its start", corrupt);
    }
}

static void check_until(const struct online *online, const char *subject, const char *what,
                        double end_s) {
    double left_s = end_s - (double)time(NULL);
    bool soon = left_s < CERTIFICATE_WARN_S;
    tools_found(online->findings,
                left_s < CERTIFICATE_BAD_S ? TOOLS_FINDING_BAD
                : soon                     ? TOOLS_FINDING_WARN
                                           : TOOLS_FINDING_OK,
                subject, soon ? "renew it: docs/ops/README.md, Certificates" : NULL,
                left_s < 0 ? "its %s certificate ended %.0f days ago"
                           : "its %s certificate ends in %.0f days",
                what, fabs(left_s) / 86400);
}

static void check_certificates(const struct online *online, const struct tools_node *node,
                               const char *subject) {
    size_t count = 0;
    const struct tools_sample *sample =
        tools_metrics_named(&node->metrics, "bindery_certificate_expiry_seconds", &count);
    for (size_t i = 0; i < count; i++) {
        struct bnd_slice name = tools_label(sample[i].labels, "certificate");
        char what[32];
        (void)snprintf(what, sizeof what, "%.*s", (int)name.len, (const char *)name.data);
        check_until(online, subject, what, sample[i].value);
    }
    if (node->certificate_s != 0) {
        check_until(online, subject, "client port's", (double)node->certificate_s);
    }
}

static void check_clock(const struct online *online, const struct tools_node *node,
                        const char *subject) {
    double offset_s = 0;
    if (!tools_fleet_clock(online->fleet, node->id, &offset_s)) {
        return;
    }
    bool off = fabs(offset_s) > CLOCK_WARN_S;
    tools_found(online->findings,
                fabs(offset_s) > CLOCK_BAD_S ? TOOLS_FINDING_BAD
                : off                        ? TOOLS_FINDING_WARN
                                             : TOOLS_FINDING_OK,
                subject,
                off ? "look at chrony or ntpd there; beyond 0.5 s it leads no group" : NULL,
                "its clock is %.0f ms %s the others'", fabs(offset_s) * 1000,
                offset_s < 0 ? "behind" : "ahead of");
}

static void check_node(const struct online *online, const struct tools_node *node) {
    char subject[48];
    subject_of(node, subject);
    if (node->status == NULL || node->metrics.count == 0) {
        tools_found(online->findings, TOOLS_FINDING_BAD, subject,
                    "is its process running (systemctl status bindery), is the port reachable?",
                    "it does not answer: %s", node->problem);
        return;
    }
    tools_found(online->findings, TOOLS_FINDING_OK, subject, NULL, "it answers, version %s, %s",
                json_string_value(json_object_get(node->status, "version")), node->state);
    if (json_is_false(json_object_get(node->status, "group0_answers"))) {
        tools_found(online->findings, TOOLS_FINDING_BAD, subject,
                    "the nodes that hold group 0 are down or apart: bring them back "
                    "(docs/ops/README.md, Quorum loss)",
                    "it does not reach group 0, and refuses clients");
    }
    check_clock(online, node, subject);
    check_certificates(online, node, subject);
    check_process(online, node, subject);
    if (!node->gateway) {
        check_disk(online, node, subject);
        check_bodies(online, node, subject);
    }
}

/* ---- the cluster
 * -------------------------------------------------------------------------------------------- */

static void check_versions(const struct online *online) {
    const char *first = NULL;
    for (size_t i = 0; i < online->fleet->count; i++) {
        const char *version =
            json_string_value(json_object_get(online->fleet->nodes[i].status, "version"));
        if (version != NULL && first != NULL && strcmp(version, first) != 0) {
            tools_found(online->findings, TOOLS_FINDING_WARN, "cluster",
                        "finish the upgrade: neighbouring versions work together, but not for ever",
                        "nodes run different versions: %s and %s", first, version);
            return;
        }
        first = version != NULL ? version : first;
    }
}

struct voters {
    size_t all, up;
};

static struct voters count_voters(const struct online *online, const json_t *group) {
    struct voters voters = {0};
    size_t i = 0;
    json_t *member = NULL;
    json_array_foreach(json_object_get(group, "members"), i, member) {
        const char *role = json_string_value(json_object_get(member, "role"));
        const struct tools_node *node = tools_fleet_find(online->fleet, number(member, "node"));
        if (role != NULL && strcmp(role, "voter") == 0) {
            voters.all++;
            voters.up += node != NULL && node->status != NULL;
        }
    }
    return voters;
}

struct group_troubles {
    unsigned all, leaderless, minority, few, lagging;
    long long example_leaderless, example_minority, example_few, example_lagging; /* shards */
    long long lag_max;
};

static void note(unsigned *count, long long *example, const json_t *group) {
    if ((*count)++ == 0) {
        *example = number(group, "shard");
    }
}

static void add_group(const struct online *online, const json_t *group, size_t wanted,
                      struct group_troubles *troubles) {
    struct voters voters = count_voters(online, group);
    troubles->all++;
    if (2 * voters.up <= voters.all) {
        note(&troubles->minority, &troubles->example_minority, group);
    } else if (number(group, "leader") == 0) {
        note(&troubles->leaderless, &troubles->example_leaderless, group);
    } else if (voters.up < wanted) {
        note(&troubles->few, &troubles->example_few, group);
    }
    if (number(group, "lag") > LAG_WARN) {
        note(&troubles->lagging, &troubles->example_lagging, group);
        troubles->lag_max =
            number(group, "lag") > troubles->lag_max ? number(group, "lag") : troubles->lag_max;
    }
}

static void tell_groups(const struct online *online, const struct group_troubles *troubles,
                        size_t wanted) {
    struct tools_findings *findings = online->findings;
    if (troubles->minority > 0) {
        tools_found(findings, TOOLS_FINDING_BAD, "groups",
                    "bring their nodes back; only if they are lost for good: `bindery recover` "
                    "(docs/ops/README.md, Quorum loss)",
                    "%u of %u groups have no majority of their voters up (one is shard %lld): "
                    "their data cannot be read or written",
                    troubles->minority, troubles->all, troubles->example_minority);
    }
    if (troubles->leaderless > 0) {
        tools_found(findings, TOOLS_FINDING_BAD, "groups",
                    "an election takes a few seconds; if it stays, look at the network between "
                    "the peers' ports and at clocks",
                    "%u of %u groups have a majority up, but no leader (one is shard %lld)",
                    troubles->leaderless, troubles->all, troubles->example_leaderless);
    }
    if (troubles->few > 0) {
        tools_found(findings, TOOLS_FINDING_WARN, "groups",
                    "one more lost node may stop them: bring nodes back, or join new ones",
                    "%u of %u groups have fewer than %zu voters up (one is shard %lld)",
                    troubles->few, troubles->all, wanted, troubles->example_few);
    }
    if (troubles->lagging > 0) {
        tools_found(findings, TOOLS_FINDING_WARN, "groups", "wait, and look again: `bindery top`",
                    "replicas of %u groups are behind, by up to %lld entries (one is shard %lld)",
                    troubles->lagging, troubles->lag_max, troubles->example_lagging);
    }
    if (troubles->minority + troubles->leaderless + troubles->few + troubles->lagging == 0) {
        tools_found(findings, TOOLS_FINDING_OK, "groups", NULL,
                    "all %u have a leader, %zu voters up, and no replica far behind", troubles->all,
                    wanted);
    }
}

static void check_groups(const struct online *online) {
    struct tools_top_past *past = calloc(1, sizeof *past);
    json_t *view = past == NULL ? NULL : tools_top_view(past, online->fleet);
    struct group_troubles troubles = {0};
    size_t stores = 0;
    size_t i = 0;
    json_t *group = NULL;
    for (size_t k = 0; k < online->fleet->count; k++) {
        const struct tools_node *node = &online->fleet->nodes[k];
        stores += !node->gateway && strcmp(node->state, "active") == 0;
    }
    size_t wanted = stores >= 3 ? 3 : 1;
    json_array_foreach(json_object_get(view, "groups"), i, group) {
        add_group(online, group, wanted, &troubles);
    }
    tell_groups(online, &troubles, wanted);
    json_decref(view);
    free(past);
}

void tools_doctor_online(struct tools_findings *findings, const struct tools_fleet *fleet) {
    struct online online = {.findings = findings, .fleet = fleet};
    for (size_t i = 0; i < fleet->count; i++) {
        check_node(&online, &fleet->nodes[i]);
    }
    check_versions(&online);
    check_groups(&online);
}
