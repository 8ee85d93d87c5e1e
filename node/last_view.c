#include "node/last_view.h"

#include "base/hash.h"

#define MAGIC "BNDVIEW"
enum { VERSION = 1 };

/* BND_NOTFOUND, BND_CORRUPT. *out borrows from bytes. */
static int parse(struct bnd_slice bytes, struct bnd_slice *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_slice magic = bnd_read_raw(&r, strlen(MAGIC));
    uint8_t version = bnd_read_u8(&r);
    uint64_t hash = bnd_read_u64(&r);
    struct bnd_slice answer = bnd_read_bytes(&r);
    if (!bnd_reader_done(&r) || !bnd_slice_eq(magic, bnd_slice_str(MAGIC)) || version != VERSION ||
        hash != bnd_hash64(answer, 0)) {
        return BND_CORRUPT;
    }
    *out = answer;
    return 0;
}

static void on_timer(struct bnd_timer *timer) {
    struct node_last_view *last = timer->data;
    if (bnd_catalog_view(last->catalog) == NULL && bnd_catalog_last_view(last->catalog) != NULL) {
        last->unheard(last->owner);
    }
}

void node_last_view_start(struct node_last_view *last) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct bnd_error err = {0};
    struct bnd_slice answer = {0};
    int rv = node_file_read(last->env, last->data, "view", &bytes, &err);
    if (rv == BND_NOTFOUND) {
        return;
    }
    rv = rv != 0 ? rv : parse(bnd_buf_slice(&bytes), &answer);
    rv = rv != 0 ? rv : bnd_catalog_remember(last->catalog, answer);
    if (rv != 0) {
        bnd_log(last->env, BND_LOG_WARN, "node", "%s/view is of no use: %s", last->data,
                bnd_code_text(rv));
        return;
    }
    last->timer = (struct bnd_timer){.cb = on_timer, .data = last};
    bnd_timer_start(last->env, &last->timer, NODE_UNHEARD_MS * BND_MS);
}

static void write_view(struct node_last_view *last, const struct bnd_catalog_view *view) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    last->kept_ns = bnd_now_ns(last->env);
    last->behind = false;
    bnd_buf_append_str(&bytes, MAGIC);
    bnd_buf_u8(&bytes, VERSION);
    bnd_buf_u64(&bytes, bnd_hash64(view->answer, 0));
    bnd_buf_bytes(&bytes, view->answer);
    if (bytes.failed) {
        bnd_log(last->env, BND_LOG_WARN, "node", "the view of group 0 is not kept: no memory");
        return;
    }
    node_kept_write(&last->kept, last->env, last->data, "view", bnd_buf_slice(&bytes));
}

static void on_keeping(struct bnd_timer *timer) {
    struct node_last_view *last = timer->data;
    write_view(last, bnd_catalog_view(last->catalog));
}

void node_last_view_keep(struct node_last_view *last) {
    uint64_t since_ns = bnd_now_ns(last->env) - last->kept_ns;
    if (last->kept_ns == 0 || since_ns >= NODE_KEEP_MS * BND_MS) {
        bnd_timer_stop(last->env, &last->keeping);
        write_view(last, bnd_catalog_view(last->catalog));
    } else if (!last->behind) {
        last->behind = true;
        last->keeping = (struct bnd_timer){.cb = on_keeping, .data = last};
        bnd_timer_start(last->env, &last->keeping, NODE_KEEP_MS * BND_MS - since_ns);
    }
}

void node_last_view_stop(struct node_last_view *last) {
    if (last->timer.cb != NULL) {
        bnd_timer_stop(last->env, &last->timer);
    }
    if (last->behind) {
        bnd_timer_stop(last->env, &last->keeping);
        write_view(last, bnd_catalog_view(last->catalog));
    }
    node_kept_close(&last->kept);
}
