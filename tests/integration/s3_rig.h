/* A whole node in this process, on a thread and a data directory of its own, and a blocking S3
 * client that signs with the node's first key. */
#ifndef BND_TESTS_INTEGRATION_S3_RIG_H
#define BND_TESTS_INTEGRATION_S3_RIG_H

#include "engine/io/io.h"
#include "gateway/s3/canonical.h"
#include "node/node.h"

#include <arpa/inet.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_ANSWER_MAX ((size_t)64 << 20)
#define RIG_TIMEOUT_S 30

struct s3_rig {
    char dir[64];
    unsigned base_port;
    struct bnd_env *env;
    struct bnd_node *node;
    struct bnd_config config;
    pthread_t thread;
    sem_t ready;
    char access_key[BND_ACCESS_KEY_TEXT];
    char secret_key[BND_SECRET_KEY_TEXT];
    struct bnd_task stop;
    struct bnd_error err;
    int status;
};

/* ---- the node
 * ---------------------------------------------------------------------------------- */

static inline void rig_on_ready(void *data, const struct node_genesis_secrets *secrets) {
    struct s3_rig *rig = data;
    if (secrets != NULL) {
        memcpy(rig->access_key, secrets->access_key, sizeof rig->access_key);
        memcpy(rig->secret_key, secrets->secret_key, sizeof rig->secret_key);
    }
    sem_post(&rig->ready);
}

static inline void rig_on_stopped(void *data, int status, const struct bnd_error *err) {
    struct s3_rig *rig = data;
    rig->status = status;
    if (status != 0 && err != NULL) {
        rig->err = *err;
        (void)fprintf(stderr, "node stopped: %s\n", err->message);
        sem_post(&rig->ready);
    }
    bnd_io_env_stop(rig->env);
}

static inline void *rig_run(void *data) {
    struct s3_rig *rig = data;
    const struct bnd_node_callbacks callbacks = {rig, rig_on_ready, rig_on_stopped};
    if (bnd_node_start(rig->env, &rig->config, &callbacks, &rig->node, &rig->err) != 0) {
        (void)fprintf(stderr, "node: %s\n", rig->err.message);
        rig->status = -1;
        sem_post(&rig->ready);
        return NULL;
    }
    bnd_io_env_run(rig->env);
    return NULL;
}

static inline bool rig_port_free(unsigned port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool free_port = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return free_port;
}

/* Four ports in a row that nobody has now. */
static inline unsigned rig_ports(void) {
    for (unsigned port = 20000 + (unsigned)getpid() % 10000 * 4; port < 65000; port += 4) {
        if (rig_port_free(port) && rig_port_free(port + 1) && rig_port_free(port + 2) &&
            rig_port_free(port + 3)) {
            return port;
        }
    }
    fail_msg("no free ports");
    return 0;
}

static inline int rig_start(void **state) {
    struct s3_rig *rig = calloc(1, sizeof *rig);
    const struct bnd_io_options io = {.log_level = BND_LOG_WARN};
    char port[16];
    assert_non_null(rig);
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/bindery-s3-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    rig->base_port = rig_ports();
    (void)snprintf(port, sizeof port, "%u", rig->base_port);
    const struct bnd_config_flag flags[] = {{"data", rig->dir},   {"listen", "127.0.0.1"},
                                            {"base_port", port},  {"insecure", "true"},
                                            {"memory", "256MiB"}, {"shards", "8"}};
    const struct bnd_config_sources sources = {.flags = flags, .flags_count = 6};
    if (bnd_config_load(&sources, &rig->config, &rig->err) != 0) {
        fail_msg("%s", rig->err.message);
    }
    sem_init(&rig->ready, 0, 0);
    assert_int_equal(bnd_io_env_create(&io, &rig->env, &rig->err), 0);
    assert_int_equal(pthread_create(&rig->thread, NULL, rig_run, rig), 0);
    sem_wait(&rig->ready);
    assert_int_equal(rig->status, 0);
    *state = rig;
    return 0;
}

static inline void rig_stop_on_loop(struct bnd_task *task) {
    bnd_node_stop(((struct s3_rig *)task->data)->node);
}

static inline int rig_end(void **state) {
    struct s3_rig *rig = *state;
    char command[128];
    rig->stop = (struct bnd_task){.cb = rig_stop_on_loop, .data = rig};
    bnd_post(rig->env, &rig->stop);
    pthread_join(rig->thread, NULL);
    assert_int_equal(rig->status, 0);
    bnd_io_env_destroy(rig->env);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", rig->dir);
    assert_int_equal(system(command), 0);
    free(rig);
    return 0;
}

/* ---- requests
 * ---------------------------------------------------------------------------------- */

struct s3_answer {
    unsigned status;
    struct bnd_slice head; /* of bytes */
    struct bnd_slice body;
    struct bnd_buf bytes;
};

struct s3_ask {
    const char *method;
    const char *target;
    const char *headers; /* "Name: value\n" lines, or NULL */
    struct bnd_slice body;
    const char *payload;    /* x-amz-content-sha256; NULL: UNSIGNED-PAYLOAD */
    const char *access_key; /* NULL: the rig's */
    const char *secret;
    bool is_unsigned;
    size_t cut; /* leave out so many bytes of the body, then close */
    /* Makes the body from the request's own signature: for signed chunks. */
    void (*make_body)(struct s3_rig *rig, const struct s3_signature *signature,
                      const struct s3_signing_key *key, struct bnd_buf *out);
    size_t body_len; /* of what make_body makes */
};

static inline void rig_hmac(const struct s3_signing_key *key, struct bnd_slice text, char out[65]) {
    uint8_t mac[32];
    unsigned len = 32;
    assert_non_null(
        HMAC(EVP_sha256(), key->bytes, sizeof key->bytes, text.data, text.len, mac, &len));
    bnd_hex_encode(mac, 32, out);
}

static inline int rig_name_order(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "host;x-amz-date;...": host and every x-amz-* header, in lower case, sorted. */
static inline void rig_signed_headers(const struct bnd_http_head *head, struct bnd_buf *out) {
    char *names[BND_HTTP_HEADERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        struct bnd_slice name = head->headers[i].name;
        bool wanted = bnd_http_text_is(name, "host") ||
                      (name.len > 6 && bnd_http_text_is(bnd_slice(name.data, 6), "x-amz-"));
        if (wanted) {
            names[count] = strndup((const char *)name.data, name.len);
            for (char *c = names[count]; *c != 0; c++) {
                *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 32 : *c);
            }
            count++;
        }
    }
    qsort(names, count, sizeof *names, rig_name_order);
    for (size_t i = 0; i < count; i++) {
        bnd_buf_printf(out, "%s%s", i == 0 ? "" : ";", names[i]);
        free(names[i]);
    }
}

/* Appends the Authorization line to a head without its empty line, and the body to *body. */
static inline void rig_sign(struct s3_rig *rig, const struct s3_ask *ask, const char *stamp,
                            struct bnd_buf *text, struct bnd_buf *body) {
    BND_AUTO_BUF struct bnd_buf whole = {0};
    BND_AUTO_BUF struct bnd_buf names = {0};
    BND_AUTO_BUF struct bnd_buf to_sign = {0};
    struct bnd_http_header headers[BND_HTTP_HEADERS_MAX];
    struct bnd_http_head head = {.headers = headers};
    struct s3_signing_key key;
    const char *why = NULL;
    uint8_t hash[32];
    char hex[65];
    bnd_buf_append_slice(&whole, bnd_buf_slice(text));
    bnd_buf_append_str(&whole, "\r\n");
    assert_int_equal(bnd_http_head_parse(bnd_buf_slice(&whole), BND_HTTP_HEADERS_MAX, &head, &why),
                     0);
    rig_signed_headers(&head, &names);
    struct s3_signature signature = {
        .date = bnd_slice(stamp, 8),
        .time = bnd_slice_str(stamp),
        .region = bnd_slice_str("auto"),
        .signed_headers = bnd_buf_slice(&names),
        .payload_text = bnd_slice_str(ask->payload == NULL ? "UNSIGNED-PAYLOAD" : ask->payload),
    };
    assert_int_equal(s3_canonical_hash(&signature, &head, hash), 0);
    bnd_hex_encode(hash, 32, hex);
    bnd_buf_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%.8s/auto/s3/aws4_request\n%s", stamp, stamp,
                   hex);
    s3_signing_key_derive(bnd_slice_str(ask->secret == NULL ? rig->secret_key : ask->secret),
                          signature.date, signature.region, &key);
    rig_hmac(&key, bnd_buf_slice(&to_sign), hex);
    bnd_buf_printf(text,
                   "Authorization: AWS4-HMAC-SHA256 Credential=%s/%.8s/auto/s3/aws4_request, "
                   "SignedHeaders=%.*s, Signature=%s\r\n",
                   ask->access_key == NULL ? rig->access_key : ask->access_key, stamp,
                   (int)names.len, (const char *)names.data, hex);
    if (ask->make_body != NULL) {
        signature.signature = bnd_slice_str(hex);
        ask->make_body(rig, &signature, &key, body);
    }
}

static inline void rig_make_request(struct s3_rig *rig, const struct s3_ask *ask,
                                    struct bnd_buf *out) {
    BND_AUTO_BUF struct bnd_buf body = {0};
    char stamp[20];
    time_t now = time(NULL);
    struct tm tm;
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
    bnd_buf_printf(out,
                   "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n"
                   "x-amz-date: %s\r\nx-amz-content-sha256: %s\r\n",
                   ask->method, ask->target, rig->base_port + 2, stamp,
                   ask->payload == NULL ? "UNSIGNED-PAYLOAD" : ask->payload);
    size_t len = ask->make_body == NULL ? ask->body.len : ask->body_len;
    if (len > 0 || strcmp(ask->method, "PUT") == 0 || strcmp(ask->method, "POST") == 0) {
        bnd_buf_printf(out, "Content-Length: %zu\r\n", len);
    }
    for (const char *c = ask->headers == NULL ? "" : ask->headers; *c != 0; c++) {
        if (*c == '\n') {
            bnd_buf_u8(out, '\r');
        }
        bnd_buf_u8(out, (uint8_t)*c);
    }
    if (!ask->is_unsigned) {
        rig_sign(rig, ask, stamp, out, &body);
    }
    bnd_buf_append_str(out, "\r\n");
    bnd_buf_append_slice(out, ask->make_body == NULL ? ask->body : bnd_buf_slice(&body));
    assert_true(ask->make_body == NULL || body.len == ask->body_len);
    assert_false(out->failed);
    out->len -= ask->cut;
}

static inline int rig_connect(const struct s3_rig *rig) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)(rig->base_port + 2)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval timeout = {.tv_sec = RIG_TIMEOUT_S};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends a request on a connection of its own and reads the answer to the end. */
static inline struct s3_answer s3_do(struct s3_rig *rig, const struct s3_ask *ask) {
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct s3_answer answer = {0};
    int fd = rig_connect(rig);
    rig_make_request(rig, ask, &request);
    for (size_t sent = 0; sent < request.len;) {
        ssize_t n = send(fd, request.data + sent, request.len - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            break; /* refused early: the answer says why */
        }
        sent += (size_t)n;
    }
    if (ask->cut > 0) {
        (void)shutdown(fd, SHUT_WR);
    }
    for (;;) {
        assert_true(answer.bytes.len < RIG_ANSWER_MAX && bnd_buf_reserve(&answer.bytes, 1 << 16));
        ssize_t n = recv(fd, answer.bytes.data + answer.bytes.len, 1 << 16, 0);
        if (n <= 0) {
            break;
        }
        answer.bytes.len += (size_t)n;
    }
    close(fd);
    const uint8_t *end =
        answer.bytes.len == 0 ? NULL : memmem(answer.bytes.data, answer.bytes.len, "\r\n\r\n", 4);
    if (end != NULL &&
        sscanf((const char *)answer.bytes.data, "HTTP/1.1 %u", &answer.status) == 1) {
        answer.head = bnd_slice(answer.bytes.data, (size_t)(end - answer.bytes.data) + 2);
        answer.body = bnd_slice(end + 4, answer.bytes.len - answer.head.len - 2);
    }
    return answer;
}

static inline bool rig_holds(struct bnd_slice text, const char *part) {
    return text.len > 0 && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

/* Asks, and checks status and, if given, a piece of head or body. */
static inline void s3_expect(struct s3_rig *rig, const struct s3_ask *ask, unsigned status,
                             const char *part) {
    struct s3_answer answer = s3_do(rig, ask);
    if (answer.status != status ||
        (part != NULL && !rig_holds(bnd_buf_slice(&answer.bytes), part))) {
        fail_msg("%s %s\n%s: expected %u %s, got %.*s", ask->method, ask->target,
                 ask->headers == NULL ? "" : ask->headers, status, part == NULL ? "" : part,
                 (int)(answer.bytes.len < 3000 ? answer.bytes.len : 3000),
                 (const char *)answer.bytes.data);
    }
    bnd_buf_free(&answer.bytes);
}

#endif
