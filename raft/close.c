/* The end of a host, in steps: answers, then cores and state machines, then what is under way in
 * the state and the journal, then the memory.
 *
 * It begins in a task of its own, because bnd_raft_host_close may be called from inside any
 * callback of the pass. */
#include "raft/host_private.h"

#include "base/alloc.h"

static void finish(struct bnd_raft_host *host) {
    void (*closed)(void *data) = host->closed;
    void *data = host->closed_data;
    bnd_free(host->groups);
    bnd_free(host->doomed); /* the next start drops them */
    bnd_buf_free(&host->frame);
    bnd_free(host->journal_dir);
    bnd_free(host);
    if (closed != NULL) {
        closed(data);
    }
}

static void on_journal_closed(void *data) {
    struct bnd_raft_host *host = data;
    host->journal_closed = true;
    close_step(host);
}

static void drop_making(struct bnd_raft_host *host, struct bnd_link *list) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(list)) != NULL) {
        struct making *making = BND_CONTAINER(link, struct making, link);
        if (making->done != NULL && !host->dead) {
            making->done(making->data, BND_CANCELED);
        }
        bnd_buf_free(&making->entry);
        bnd_free(making);
    }
}

/* What is in an unwritten batch is committed, but nobody here can say so any more. */
static void drop_apply(struct bnd_raft_host *host) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&host->apply.touched)) != NULL) {
    }
    while ((link = bnd_list_pop(&host->apply.answers)) != NULL) {
        struct batch *batch = BND_CONTAINER(link, struct batch, link);
        bnd_list_push(&batch->group->flying, &batch->link);
        batch->group->flying_count++;
    }
}

static void begin(struct bnd_raft_host *host) {
    struct bnd_env *env = host->config.env;
    struct bnd_mesh *mesh = host->config.mesh;
    bnd_timer_stop(env, &host->tick);
    env->ops->hook_remove(env, &host->hook);
    mesh->ops->receive(mesh, BND_MESH_RAFT, NULL, NULL);
    readindex_close(host);
    replica_read_close(host);
    import_close(host);
    export_close(host);
    survey_close(host);
    drop_apply(host);
    for (size_t i = 0; i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        if (host->dead) {
            propose_drop(group);
            readindex_drop(group);
            replica_read_drop(group);
            execute_drop(group);
        } else {
            propose_cancel(group, BND_CANCELED);
            readindex_cancel(group, BND_CANCELED);
            replica_read_cancel(group, BND_CANCELED);
            execute_cancel(group, BND_CANCELED);
        }
        group_free(group);
    }
    host->groups_count = 0;
    BND_ASSERT(host->dead || host->executions.count == 0); /* the executor has replied to all */
    drop_making(host, &host->making);
    drop_making(host, &host->made);
    apply_close(host);
}

void close_step(struct bnd_raft_host *host) {
    if (!host->close_begun) {
        host->close_begun = true;
        begin(host);
    }
    if (host->persist.running || host->imports.persisting > 0) {
        return; /* their callbacks come back here */
    }
    if (!host->journal_closing) {
        host->journal_closing = true;
        bnd_journal_close(host->journal, on_journal_closed, host);
    }
    if (host->journal_closed && !host->wake_armed) {
        finish(host);
    }
}

void bnd_raft_host_close(struct bnd_raft_host *host, void (*closed)(void *data), void *data) {
    BND_ASSERT(!host->closing);
    host->closing = true;
    host->closed = closed;
    host->closed_data = data;
    host_wake(host); /* its task begins */
}
