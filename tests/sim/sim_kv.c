/* Whole clusters of real KV nodes under faults, one seed after the other (tests/sim/README.md).
 *
 *   sim_kv --seed A --count N [--rules-off NAME,...] [--check-determinism] [--verbose] [--trace]
 *   sim_kv --seeds FILE
 *
 * --verbose prints what clients and the map's oracle do and the nodes' log lines, --trace
 * everything that goes into the trace hash. Exit 1 on any violation, or if the batch did too little
 * to count.
 */
#include "kv/rules.h"
#include "tests/sim/batch.h"
#include "tests/sim/kv/clients.h"
#include "tests/sim/kv/faults.h"
#include "tests/sim/kv/oracle.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#define FAULTS_NS (60 * SIMKV_SECOND)
#define CALM_NS (15 * SIMKV_SECOND)   /* clients go on after healing */
#define EQUAL_NS (180 * SIMKV_SECOND) /* replicas are equal within */
#define ACKED_MIN 60

struct result {
    struct bnd_sim_result common;
    struct simkv_counts counts;
    uint64_t delays[2][SIMKV_DELAYS], delay_max_ms[2];
    uint64_t acked, reads;
    uint64_t equal_ms; /* from the end of writing until replicas were equal */
};

struct totals {
    uint64_t delays[2][SIMKV_DELAYS], delay_max_ms[2];
    uint64_t equal_ms_max, equal_ms;
};

static bool is_idle(void *data) {
    return simkv_clients_idle(data);
}

struct dark {
    struct bnd_timer timer;
    struct simkv_cluster *cluster;
    bool fell;
};

static void on_dark(struct bnd_timer *timer) {
    struct dark *dark = BND_CONTAINER(timer, struct dark, timer);
    simkv_faults_site(dark->cluster);
    dark->fell = true;
}

static bool has_fallen(void *data) {
    return ((const struct dark *)data)->fell;
}

/* The last that clients hear is an acknowledgement, with the power of all lost right behind it:
 * what was acknowledged and is on no disk is missed, as nobody writes it again. Disks are slower
 * than the network, and every client at its next operation, so that much is under way. */
static void end_in_the_dark(struct simkv_cluster *cluster, struct simkv_clients *clients) {
    static const struct bnd_sim_latency slow = {.min_ns = 5 * BND_MS, .max_ns = 60 * BND_MS};
    struct dark dark = {.timer = {.cb = on_dark}, .cluster = cluster};
    for (size_t i = 0; i < cluster->machines_count; i++) {
        bnd_sim_disk_latency(cluster->machines[i].base.disk, &slow);
    }
    simkv_clients_hurry(clients, 5 * BND_MS);
    bnd_sim_run_for(cluster->world, SIMKV_SECOND);
    simkv_clients_stop_behind_ack(clients, &dark.timer);
    if (!bnd_sim_run_until_true(cluster->world, has_fallen, &dark, 90 * SIMKV_SECOND)) {
        bnd_sim_violation(&cluster->check, "no write is acknowledged before the power goes");
    }
    simkv_clients_stop_behind_ack(clients, NULL);
    bnd_sim_world_cancel(cluster->world, &dark.timer);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        if (cluster->machines[i].base.life == BND_SIM_DOWN) {
            simkv_start(&cluster->machines[i]);
        }
    }
}

/* After healing clients are served again; when they stop, the replicas become equal, and hold what
 * was acknowledged. */
static void check_end(struct simkv_cluster *cluster, struct simkv_clients *clients,
                      struct simkv_history *history, bool dark, struct result *result) {
    result->acked += simkv_clients_acked(clients);
    bnd_sim_run_for(cluster->world, CALM_NS);
    uint64_t late = simkv_clients_acked(clients);
    result->acked += late;
    if (late == 0) {
        bnd_sim_violation(&cluster->check, "no progress after healing");
    }
    if (dark) {
        end_in_the_dark(cluster, clients);
    }
    simkv_clients_stop(clients);
    (void)bnd_sim_run_until_true(cluster->world, is_idle, clients, 90 * SIMKV_SECOND);
    uint64_t begin_ns = simkv_now_ns(cluster);
    while (!(simkv_oracle_settled(cluster) && simkv_equal(cluster, false)) &&
           simkv_now_ns(cluster) - begin_ns < EQUAL_NS) {
        bnd_sim_run_for(cluster->world, SIMKV_SECOND);
    }
    result->equal_ms = (simkv_now_ns(cluster) - begin_ns) / BND_MS;
    if (!simkv_oracle_settled(cluster)) {
        bnd_sim_violation(&cluster->check, "UNSETTLED: the replicas are not as they should be");
        if (cluster->verbose) {
            simkv_oracle_print(cluster);
        }
        return;
    }
    if (simkv_equal(cluster, true)) {
        simkv_clients_read_all(clients);
        simkv_history_check(history);
    }
}

static void run_seed(const struct bnd_sim_options *options, uint64_t seed, void *out) {
    struct result *result = out;
    struct simkv_config config = {
        .seed = seed, .rules_off = options->off, .verbose = options->verbose};
    *result = (struct result){0};
    struct simkv_cluster *cluster = simkv_cluster_create(&config);
    bnd_sim_trace_print(cluster->world, options->trace);
    struct simkv_history history = {.cluster = cluster};
    struct simkv_clients *clients = simkv_clients_create(cluster, &history, 4, 400 * BND_MS);
    struct simkv_faults *faults = simkv_faults_start(cluster);
    bnd_sim_run_for(cluster->world, FAULTS_NS);
    simkv_faults_heal(faults);
    check_end(cluster, clients, &history, seed % 4 == 3, result);
    simkv_faults_destroy(faults);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        simkv_crash(&cluster->machines[i], BND_SIM_KILL);
    }
    result->counts = cluster->counts;
    result->reads = history.reads;
    bnd_sim_result_take(&result->common, cluster->world, &cluster->check);
    result->common.thin = result->acked < ACKED_MIN;
    memcpy(result->delays, history.delays, sizeof history.delays);
    memcpy(result->delay_max_ms, history.delay_max_ms, sizeof history.delay_max_ms);
    simkv_clients_destroy(clients);
    simkv_history_free(&history);
    simkv_cluster_destroy(cluster);
}

/* ---- many -------------------------------------------------------------------------------------*/

#define AT(field) offsetof(struct result, field)

static const struct bnd_sim_sum sums[] = {
    {"commits", AT(acked), 20000},
    {"local", AT(counts.local), 200},
    {"restamped", AT(counts.restamped), 20},
    {"refused", AT(counts.refused), 0},
    {"large", AT(counts.large), 200},
    {"reads", AT(reads), 0},
    {"lists", AT(counts.lists), 0},
    {"exchanges", AT(counts.exchanges), 5000},
    {"moves", AT(counts.moves), 300},
    {"fills", AT(counts.fills), 300},
    {"left out", AT(counts.left_out), 15},
    {"horizons", AT(counts.collected), 500},
    {"tombstones", AT(counts.tombstones), 100},
    {"wiped", AT(counts.wiped_shards), 0},
    {"losses", AT(counts.wipes), 50},
    {"aways", AT(counts.aways), 0},
    {"crashes", AT(counts.crashes), 0},
    {"stops", AT(counts.fatals), 0},
};

static void add(void *data, const void *one) {
    struct totals *totals = data;
    const struct result *result = one;
    totals->equal_ms += result->equal_ms;
    if (result->equal_ms > totals->equal_ms_max) {
        totals->equal_ms_max = result->equal_ms;
    }
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < SIMKV_DELAYS; j++) {
            totals->delays[i][j] += result->delays[i][j];
        }
        if (result->delay_max_ms[i] > totals->delay_max_ms[i]) {
            totals->delay_max_ms[i] = result->delay_max_ms[i];
        }
    }
}

/* The upper end, in ms, of the power of two that holds this share of the reads. */
static uint64_t share_ms(const uint64_t *delays, unsigned per_mille) {
    uint64_t all = 0;
    uint64_t up_to = 0;
    for (size_t i = 0; i < SIMKV_DELAYS; i++) {
        all += delays[i];
    }
    for (size_t i = 0; i < SIMKV_DELAYS; i++) {
        up_to += delays[i];
        if (up_to * 1000 >= all * per_mille) {
            return i == 0 ? 0 : UINT64_C(1) << i;
        }
    }
    return 0;
}

static void print(const void *data, uint64_t seeds) {
    const struct totals *totals = data;
    (void)printf("staleness of reads: in calm p50 %" PRIu64 " p99 %" PRIu64 " p99.9 %" PRIu64
                 " max %" PRIu64 " ms; under faults p50 %" PRIu64 " p99 %" PRIu64 " max %" PRIu64
                 " ms; equal after %" PRIu64 " ms on average, %" PRIu64 " at most\n",
                 share_ms(totals->delays[1], 500), share_ms(totals->delays[1], 990),
                 share_ms(totals->delays[1], 999), totals->delay_max_ms[1],
                 share_ms(totals->delays[0], 500), share_ms(totals->delays[0], 990),
                 totals->delay_max_ms[0], totals->equal_ms / seeds, totals->equal_ms_max);
}

static const struct bnd_sim_switch switches[] = {
    {"DIGEST", KV_RULE_DIGEST},       {"EXCHANGE", KV_RULE_EXCHANGE}, {"SEAL", KV_RULE_SEAL},
    {"FILL", KV_RULE_FILL},           {"LEAVE", KV_RULE_LEAVE},       {"REFUSE", KV_RULE_REFUSE},
    {"CONFIRM", KV_RULE_CONFIRM},     {"WIPE", KV_RULE_WIPE},         {"SAME", KV_RULE_SAME},
    {"NAMESPACE", KV_RULE_NAMESPACE}, {"NEWER", KV_RULE_NEWER},
};

int main(int argc, char **argv) {
    struct totals totals = {0};
    const struct bnd_sim_batch batch = {
        .program = "sim_kv",
        .off_option = "--rules-off",
        .switches = switches,
        .switches_count = sizeof switches / sizeof switches[0],
        .sums = sums,
        .sums_count = sizeof sums / sizeof sums[0],
        .result_bytes = sizeof(struct result),
        .run = run_seed,
        .totals = &totals,
        .add = add,
        .print = print,
    };
    return bnd_sim_batch_main(&batch, argc, argv);
}
