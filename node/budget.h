/* How `memory` is shared out: every buffer, queue and cache of a process that grows with load has
 * its part, so that together they stay within the setting (ADR 0037). */
#ifndef BND_NODE_BUDGET_H
#define BND_NODE_BUDGET_H

#include <stddef.h>
#include <stdint.h>

struct node_budget {
    size_t state;           /* RocksDB: block cache and memtables */
    size_t kv_cache;        /* records of KV in memory */
    size_t sql_pages;       /* of SQL databases that are open */
    size_t ports;           /* request buffers of all client ports */
    size_t held;            /* values and answers of KV and D1 that requests hold */
    size_t uploads;         /* bodies on their way to their replicas */
    size_t readers;         /* of bodies on their way to clients */
    size_t store;           /* bodies being written, or read, here for others */
    size_t peer_queue;      /* messages to one peer on one lane */
    size_t proposals;       /* Raft: waiting or in flight */
    size_t proposals_group; /* of them in one group */
    size_t logs;            /* Raft: retained logs in RAM */
    size_t calls;           /* requests to groups under way */
    size_t executions;      /* of them, those that are executed here */
};

struct node_budget node_budget(uint64_t memory);

#endif
