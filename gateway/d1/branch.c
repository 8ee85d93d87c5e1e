#include "gateway/d1/branch.h"

#include "base/alloc.h"
#include "base/assert.h"

#define RENEW_NS (BND_SQL_LEASE_MS * BND_MS / 4)

static int ask(struct d1_branch *branch);

static void on_timer(struct bnd_timer *timer) {
    struct d1_branch *branch = timer->data;
    if (ask(branch) != 0) { /* what it is kept for finds out if it is gone */
        bnd_timer_start(branch->env, &branch->timer, RENEW_NS);
    }
}

static void on_asked(struct bnd_sql_admin *admin, int status) {
    struct d1_branch *branch = admin->data;
    bool first = !branch->made_known;
    branch->asking = false;
    if (first) {
        branch->made_known = true;
        branch->bytes = admin->info.size_bytes;
        branch->made = admin->info.bookmark;
        branch->at = branch->past ? branch->at : admin->previous;
    }
    if (!first || status == 0) {
        bnd_timer_start(branch->env, &branch->timer, RENEW_NS);
    }
    if (first) {
        branch->there = status == 0 || bnd_code_class(status) == BND_CLASS_UNKNOWN;
        branch->cb(branch, status);
    }
}

static int ask(struct d1_branch *branch) {
    branch->admin = (struct bnd_sql_admin){.cb = on_asked, .data = branch};
    int rv = branch->past ? bnd_sql_branch_at(branch->sql, &branch->admin, branch->source,
                                              branch->uuid, &branch->at)
                          : bnd_sql_branch(branch->sql, &branch->admin, branch->source,
                                           branch->uuid, branch->holds);
    branch->asking = rv == 0;
    return rv;
}

int d1_branch_begin(struct d1_branch *branch, const uint8_t source[BND_SQL_UUID_BYTES],
                    bool holds) {
    BND_ASSERT(!branch->past || !holds);
    memcpy(branch->source, source, sizeof branch->source);
    branch->holds = holds;
    branch->made_known = false;
    branch->timer = (struct bnd_timer){.cb = on_timer, .data = branch};
    bnd_sql_fork_uuid(branch->sql, source, branch->uuid);
    int rv = ask(branch);
    branch->there = rv == 0;
    return rv;
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------
 */

/* Nobody waits for it: what fails is done by the end of the lease. */
static void on_deleted(struct bnd_sql_admin *admin, int status) {
    (void)status;
    bnd_free(admin);
}

static void forget(struct bnd_sql *sql, const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct bnd_sql_admin *admin = bnd_zalloc(sizeof *admin);
    if (admin == NULL) {
        return;
    }
    admin->cb = on_deleted;
    if (bnd_sql_delete_database(sql, admin, uuid) != 0) {
        bnd_free(admin);
    }
}

void d1_branch_taken(struct d1_branch *branch) {
    if (branch->asking) {
        bnd_sql_admin_cancel(&branch->admin);
        branch->asking = false;
    }
    if (branch->there) {
        bnd_timer_stop(branch->env, &branch->timer);
        branch->there = false;
    }
}

void d1_branch_end(struct d1_branch *branch) {
    bool there = branch->there;
    d1_branch_taken(branch);
    if (there) {
        forget(branch->sql, branch->uuid);
    }
}
