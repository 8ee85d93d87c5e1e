/* Lists over many shards against a naive model, page by page, with prefixes, delimiters and
 * cursors. */
#include "tests/unit/objects/cluster.h"

enum { BUCKET = 7, KEYS_MAX = 400, KEY_BYTES = 24 };

struct model {
    char keys[KEYS_MAX][KEY_BYTES];
    size_t count;
};

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

/* What the whole list should be, one line per item. */
static void model_list(const struct model *model, const char *prefix, const char *delimiter,
                       const char *after, char *out) {
    char last[KEY_BYTES + 2] = "";
    out[0] = 0;
    for (size_t i = 0; i < model->count; i++) {
        const char *key = model->keys[i];
        if (strncmp(key, prefix, strlen(prefix)) != 0 || strcmp(key, after) <= 0) {
            continue;
        }
        const char *cut = delimiter[0] == 0 ? NULL : strstr(key + strlen(prefix), delimiter);
        char line[KEY_BYTES + 3];
        if (cut == NULL) {
            snprintf(line, sizeof line, "%s\n", key);
        } else {
            size_t len = (size_t)(cut - key) + strlen(delimiter);
            snprintf(line, sizeof line, "%.*s*\n", (int)len, key);
            if (strcmp(line, last) == 0) {
                continue;
            }
            strcpy(last, line);
        }
        strcat(out, line);
    }
}

struct paging {
    bool done;
    int status;
    bool truncated;
    size_t count;
    uint8_t cursor[BND_OBJECT_CURSOR_MAX];
    size_t cursor_len;
    char *text;
};

static void on_page(struct bnd_object_list *list, int status, const struct bnd_list_page *page) {
    struct paging *paging = list->data;
    paging->done = true;
    paging->status = status;
    if (page == NULL) {
        return;
    }
    paging->truncated = page->truncated;
    paging->count = page->count;
    paging->cursor_len = page->cursor.len;
    memcpy(paging->cursor, page->cursor.data == NULL ? (const uint8_t *)"" : page->cursor.data,
           page->cursor.len);
    for (size_t i = 0; i < page->count; i++) {
        struct bnd_object_meta meta;
        strncat(paging->text, (const char *)page->items[i].key.data, page->items[i].key.len);
        strcat(paging->text, page->items[i].is_prefix ? "*\n" : "\n");
        if (!page->items[i].is_prefix) {
            assert_int_equal(bnd_list_item_meta(&page->items[i], &meta), 0);
            assert_int_equal(meta.size, page->items[i].key.len);
            assert_null(meta.fields.content_type.data); /* not asked for */
        }
    }
}

static size_t list_all(struct node *node, struct bnd_list_options *options, char *text) {
    struct paging paging = {.text = text};
    size_t pages = 0;
    text[0] = 0;
    do {
        struct bnd_object_list list = {.cb = on_page, .data = &paging};
        options->cursor = bnd_slice(paging.cursor, paging.cursor_len);
        paging.done = false;
        bnd_sim_env_enter(node->sim);
        assert_int_equal(bnd_object_list(node->objects, &list, options), 0);
        bnd_sim_env_leave(node->sim);
        assert_true(
            bnd_sim_run_until_true(node->cluster->world, flag_set, &paging.done, 60000 * BND_MS));
        assert_int_equal(paging.status, 0);
        assert_true(paging.count <= options->limit);
        assert_true(paging.count > 0 || !paging.truncated);
        pages++;
    } while (paging.truncated);
    return pages;
}

static void fill(struct cluster *cluster, struct model *model) {
    struct bnd_sim_rng rng;
    struct answer answer;
    bnd_sim_rng_init(&rng, 11, "keys", 0);
    while (model->count < KEYS_MAX) {
        char *key = model->keys[model->count];
        size_t len = 1 + bnd_sim_rng_below(&rng, 14);
        for (size_t i = 0; i < len; i++) {
            key[i] = "abc/-"[bnd_sim_rng_below(&rng, 5)];
        }
        key[len] = 0;
        bool twice = false;
        for (size_t i = 0; i < model->count; i++) {
            twice = twice || strcmp(model->keys[i], key) == 0;
        }
        if (!twice) {
            struct put put = put_of(BUCKET, key);
            put.fields.content_type = bnd_slice_str("x/y");
            assert_int_equal(node_put(&cluster->nodes[0], &put, 1, strlen(key), &answer), 0);
            model->count++;
        }
    }
    struct put other = put_of(BUCKET + 1, "aaa"); /* of a neighbour: never seen */
    assert_int_equal(node_put(&cluster->nodes[0], &other, 1, 3, &answer), 0);
    qsort(model->keys, model->count, KEY_BYTES, compare);
}

static void test_lists_equal_the_model(void **state) {
    static struct cluster cluster;
    static struct model model;
    static char expected[KEYS_MAX * KEY_BYTES];
    static char text[KEYS_MAX * KEY_BYTES];
    const char *prefixes[] = {"", "a", "a/", "ab", "a/b/", "-", "zz", "c/-"};
    const char *delimiters[] = {"", "/", "-", "/-"};
    const char *afters[] = {"", "a/", "b", "c/c", "~"};
    const uint32_t limits[] = {1, 3, 50, 1000};
    (void)state;
    cluster_start(&cluster, 1);
    fill(&cluster, &model);
    size_t checked = 0;
    for (size_t p = 0; p < 8; p++) {
        for (size_t d = 0; d < 4; d++) {
            for (size_t a = 0; a < 5; a++) {
                size_t l = (p + d + a) % 4;
                struct bnd_list_options options = {.bucket = {.id = BUCKET, .segments = 2},
                                                   .prefix = bnd_slice_str(prefixes[p]),
                                                   .delimiter = bnd_slice_str(delimiters[d]),
                                                   .after = bnd_slice_str(afters[a]),
                                                   .limit = limits[l]};
                model_list(&model, prefixes[p], delimiters[d], afters[a], expected);
                size_t pages = list_all(&cluster.nodes[1], &options, text);
                assert_string_equal(text, expected);
                checked += strlen(text) > 0 ? 1 : 0;
                assert_true(limits[l] != 1000 || pages == 1);
            }
        }
    }
    assert_true(checked > 60); /* the rest are empty by prefix or start */
    cluster_stop(&cluster);
}

static void test_a_shard_that_does_not_answer_fails_the_page(void **state) {
    static struct cluster cluster;
    struct answer answer;
    char text[64] = "";
    (void)state;
    cluster_start(&cluster, 2);
    struct put put = put_of(BUCKET, "k");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 1, 1, &answer), 0);
    struct paging paging = {.text = text};
    struct bnd_object_list list = {.cb = on_page, .data = &paging};
    struct bnd_list_options options = {.bucket = {.id = BUCKET, .segments = 2}, .limit = 10};
    cluster.refuse = true;
    bnd_sim_env_enter(cluster.nodes[0].sim);
    assert_int_equal(bnd_object_list(cluster.nodes[0].objects, &list, &options), 0);
    options.limit = 0;
    assert_int_equal(bnd_object_list(cluster.nodes[0].objects, &list, &options), BND_INVALID);
    options.limit = 10;
    options.cursor = bnd_slice_str("?");
    assert_int_equal(bnd_object_list(cluster.nodes[0].objects, &list, &options), BND_INVALID);
    bnd_sim_env_leave(cluster.nodes[0].sim);
    assert_true(bnd_sim_run_until_true(cluster.world, flag_set, &paging.done, 60000 * BND_MS));
    assert_int_equal(paging.status, BND_UNAVAILABLE);
    cluster_stop(&cluster);
}

static void on_uploads(struct bnd_multipart_uploads *uploads, int status,
                       const struct bnd_multipart_uploads_page *page) {
    struct answer *answer = uploads->data;
    answer->done = true;
    answer->status = status;
    answer->flag = page != NULL && page->truncated;
    for (size_t i = 0; page != NULL && i < page->count; i++) {
        const struct bnd_multipart_upload *upload = &page->uploads[i];
        char *end = answer->text + strlen(answer->text);
        for (size_t b = 0; b < upload->key.len; b++) { /* keys here hold 0 and 255 */
            end += sprintf(end,
                           upload->key.data[b] < 32 || upload->key.data[b] > 126 ? "\\%02x" : "%c",
                           upload->key.data[b]);
        }
        strcpy(end, upload->is_prefix ? "* " : " ");
        memcpy(answer->id, upload->upload_id, 16);
        answer->object.bytes.len = 0;
        answer->part = (uint32_t)upload->key.len;
        memcpy(answer->version, upload->key.data, upload->key.len < 16 ? upload->key.len : 16);
    }
}

static void on_created(struct bnd_multipart_create *create, int status, const uint8_t *id) {
    struct answer *answer = create->data;
    (void)id;
    answer->done = true;
    answer->status = status;
}

static void test_uploads_are_listed_in_key_order(void **state) {
    static struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 3);
    struct node *node = &cluster.nodes[0];
    const struct bnd_slice keys[] = {
        bnd_slice("a", 1),     bnd_slice("a\0", 2), bnd_slice("a\0b", 3), bnd_slice("a\1", 2),
        bnd_slice("a\xff", 2), bnd_slice("ab", 2),  bnd_slice("b/1", 3),  bnd_slice("b/2", 3),
        bnd_slice("a", 1),     bnd_slice("a", 1),
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct bnd_multipart_create create = {.cb = on_created, .data = &answer};
        struct bnd_multipart_create_options options = {
            .name = {.bucket = {.id = BUCKET}, .key = keys[i]}, .fields = bnd_object_fields_none()};
        answer = (struct answer){0};
        bnd_sim_env_enter(node->sim);
        assert_int_equal(bnd_multipart_create(node->objects, &create, &options), 0);
        bnd_sim_env_leave(node->sim);
        await(&cluster, &answer);
        assert_int_equal(answer.status, 0);
    }
    answer = (struct answer){0};
    uint8_t after_key[16];
    uint8_t after_id[16];
    struct bnd_multipart_uploads_options options = {
        .bucket = {.id = BUCKET}, .delimiter = bnd_slice_str("/"), .limit = 1};
    do { /* one by one: the paging must neither skip nor repeat */
        struct bnd_multipart_uploads uploads = {.cb = on_uploads, .data = &answer};
        answer.done = false;
        bnd_sim_env_enter(node->sim);
        assert_int_equal(bnd_multipart_uploads(node->objects, &uploads, &options), 0);
        bnd_sim_env_leave(node->sim);
        await(&cluster, &answer);
        assert_int_equal(answer.status, 0);
        memcpy(after_key, answer.version, answer.part);
        memcpy(after_id, answer.id, 16);
        options.after_key = bnd_slice(after_key, answer.part);
        options.after_upload = after_id;
        options.after_prefix = false;
    } while (answer.flag);
    assert_string_equal(answer.text, "a a a a\\00 a\\00b a\\01 ab a\\ff b/* ");
    cluster_stop(&cluster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_equal_the_model),
        cmocka_unit_test(test_a_shard_that_does_not_answer_fails_the_page),
        cmocka_unit_test(test_uploads_are_listed_in_key_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
