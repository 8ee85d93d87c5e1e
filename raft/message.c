/* Codec of the messages between cores (SPEC.md, "Raft messages").
 *
 * Failure modes: everything a decoder lets through is safe to give to a core: terms and indexes are
 * in order and cannot overflow, kinds are known, configurations can be read. */
#include "raft/message.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "raft/configuration.h"
#include "raft/core.h"

/* Far above any log, far below overflow. */
#define INDEX_MAX (UINT64_MAX / 4)

enum {
    FLAG_DISRUPT = 1, /* VOTE */
    FLAG_GRANTED = 1, /* VOTE_RESULT */
    FLAG_PRE_VOTE = 2,
};

enum {
    HEAD_BYTES = 1 + 1 + 8 + 8,
    ENTRY_HEAD_BYTES = 1 + 8 + 4,
};

static uint8_t message_flags(const struct bnd_message *m) {
    switch (m->type) {
    case BND_MESSAGE_VOTE:
        return (uint8_t)((m->vote.disrupt ? FLAG_DISRUPT : 0) |
                         (m->vote.pre_vote ? FLAG_PRE_VOTE : 0));
    case BND_MESSAGE_VOTE_RESULT:
        return (uint8_t)((m->vote_result.granted ? FLAG_GRANTED : 0) |
                         (m->vote_result.pre_vote ? FLAG_PRE_VOTE : 0));
    case BND_MESSAGE_APPEND_RESULT:
        return m->append_result.space;
    default:
        return 0;
    }
}

static void encode_append(const struct bnd_message_append *append, struct bnd_buf *out) {
    bnd_buf_u64(out, append->prev_index);
    bnd_buf_u64(out, append->prev_term);
    bnd_buf_u64(out, append->commit);
    bnd_buf_u64(out, append->stamp_ms);
    bnd_buf_u32(out, (uint32_t)append->entries_count);
    for (size_t i = 0; i < append->entries_count; i++) {
        const struct bnd_journal_entry *entry = &append->entries[i];
        bnd_buf_u8(out, entry->kind);
        bnd_buf_u64(out, entry->term);
        bnd_buf_bytes(out, entry->data);
    }
}

void bnd_message_encode(const struct bnd_message *message, struct bnd_buf *out) {
    bnd_buf_u8(out, (uint8_t)message->type);
    bnd_buf_u8(out, message_flags(message));
    bnd_buf_u64(out, message->gid);
    bnd_buf_u64(out, message->term);
    switch (message->type) {
    case BND_MESSAGE_APPEND:
        encode_append(&message->append, out);
        break;
    case BND_MESSAGE_APPEND_RESULT:
        bnd_buf_u64(out, message->append_result.rejected);
        bnd_buf_u64(out, message->append_result.last_index);
        break;
    case BND_MESSAGE_VOTE:
        bnd_buf_u64(out, message->vote.candidate);
        bnd_buf_u64(out, message->vote.last_index);
        bnd_buf_u64(out, message->vote.last_term);
        break;
    case BND_MESSAGE_VOTE_RESULT:
        break;
    case BND_MESSAGE_INSTALL:
        bnd_buf_u64(out, message->install.start.index);
        bnd_buf_u64(out, message->install.start.term);
        bnd_buf_u64(out, message->install.start.config_index);
        bnd_buf_u64(out, message->install.export_id);
        bnd_buf_bytes(out, message->install.start.config);
        break;
    case BND_MESSAGE_TIMEOUT_NOW:
        bnd_buf_u64(out, message->timeout_now.last_index);
        bnd_buf_u64(out, message->timeout_now.last_term);
        break;
    default:
        BND_UNREACHABLE("message type");
    }
}

size_t bnd_message_bytes(const struct bnd_message *message) {
    switch (message->type) {
    case BND_MESSAGE_APPEND: {
        size_t bytes = HEAD_BYTES + 4 * 8 + 4;
        for (size_t i = 0; i < message->append.entries_count; i++) {
            bytes += ENTRY_HEAD_BYTES + message->append.entries[i].data.len;
        }
        return bytes;
    }
    case BND_MESSAGE_APPEND_RESULT:
    case BND_MESSAGE_TIMEOUT_NOW:
        return HEAD_BYTES + 2 * 8;
    case BND_MESSAGE_VOTE:
        return HEAD_BYTES + 3 * 8;
    case BND_MESSAGE_VOTE_RESULT:
        return HEAD_BYTES;
    case BND_MESSAGE_INSTALL:
        return HEAD_BYTES + 4 * 8 + 4 + message->install.start.config.len;
    default:
        BND_UNREACHABLE("message type");
    }
}

static int check_entry(const struct bnd_journal_entry *entry, uint64_t term_before,
                       uint64_t message_term, struct bnd_error *err) {
    if (entry->term == 0 || entry->term < term_before || entry->term > message_term) {
        return BND_FAIL(err, CORRUPT,
                        "entry of term %llu after term %llu in a message of term %llu",
                        (unsigned long long)entry->term, (unsigned long long)term_before,
                        (unsigned long long)message_term);
    }
    struct bnd_raft_configuration ignored;
    switch (entry->kind) {
    case BND_CORE_COMMAND:
        return 0;
    case BND_CORE_BARRIER:
        return entry->data.len == 0 ? 0 : BND_FAIL(err, CORRUPT, "barrier with data");
    case BND_CORE_CONFIGURATION:
        return bnd_raft_configuration_decode(entry->data, &ignored, err);
    default:
        return BND_FAIL(err, CORRUPT, "entry of unknown kind %u", entry->kind);
    }
}

/* (index, term) of an entry: both 0, or both not and in bounds. */
static bool place_valid(uint64_t index, uint64_t term, uint64_t term_max) {
    return (index == 0) == (term == 0) && index <= INDEX_MAX && term <= term_max;
}

static int decode_append(struct bnd_reader *r, struct bnd_message *m, struct bnd_error *err) {
    struct bnd_message_append *append = &m->append;
    append->prev_index = bnd_read_u64(r);
    append->prev_term = bnd_read_u64(r);
    append->commit = bnd_read_u64(r);
    append->stamp_ms = bnd_read_u64(r);
    append->entries_count = bnd_read_u32(r);
    if (r->failed || append->entries_count > r->rest.len / ENTRY_HEAD_BYTES) {
        return BND_FAIL(err, CORRUPT, "AppendEntries is cut");
    }
    if (!place_valid(append->prev_index, append->prev_term, m->term) ||
        append->commit > append->prev_index + append->entries_count) {
        return BND_FAIL(err, CORRUPT, "AppendEntries with impossible indexes");
    }
    if (append->entries_count == 0) {
        return 0;
    }
    struct bnd_journal_entry *entries = bnd_calloc(append->entries_count, sizeof *entries);
    if (entries == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for %zu entries", append->entries_count);
    }
    m->owned = entries;
    append->entries = entries;
    uint64_t term_before = append->prev_term;
    for (size_t i = 0; i < append->entries_count; i++) {
        entries[i].index = append->prev_index + 1 + i;
        entries[i].kind = bnd_read_u8(r);
        entries[i].term = bnd_read_u64(r);
        entries[i].data = bnd_read_bytes(r);
        if (r->failed) {
            return BND_FAIL(err, CORRUPT, "AppendEntries is cut in entry %zu", i);
        }
        int rv = check_entry(&entries[i], term_before, m->term, err);
        if (rv != 0) {
            return rv;
        }
        term_before = entries[i].term;
    }
    return 0;
}

static int decode_install(struct bnd_reader *r, struct bnd_message *m, struct bnd_error *err) {
    struct bnd_journal_start *start = &m->install.start;
    start->index = bnd_read_u64(r);
    start->term = bnd_read_u64(r);
    start->config_index = bnd_read_u64(r);
    m->install.export_id = bnd_read_u64(r);
    start->config = bnd_read_bytes(r);
    if (r->failed || start->index == 0 || !place_valid(start->index, start->term, m->term) ||
        start->config_index == 0 || start->config_index > start->index) {
        return BND_FAIL(err, CORRUPT, "InstallSnapshot is cut or has impossible indexes");
    }
    struct bnd_raft_configuration ignored;
    return bnd_raft_configuration_decode(start->config, &ignored, err);
}

static int decode_vote(struct bnd_reader *r, struct bnd_message *m, uint8_t flags,
                       struct bnd_error *err) {
    m->vote.candidate = bnd_read_u64(r);
    m->vote.last_index = bnd_read_u64(r);
    m->vote.last_term = bnd_read_u64(r);
    m->vote.disrupt = (flags & FLAG_DISRUPT) != 0;
    m->vote.pre_vote = (flags & FLAG_PRE_VOTE) != 0;
    if (r->failed || m->vote.candidate == 0 ||
        !place_valid(m->vote.last_index, m->vote.last_term, m->term)) {
        return BND_FAIL(err, CORRUPT, "RequestVote is cut or has impossible indexes");
    }
    return 0;
}

static int decode_pair(struct bnd_reader *r, struct bnd_message *m, uint8_t flags,
                       struct bnd_error *err) {
    uint64_t first = bnd_read_u64(r);
    uint64_t second = bnd_read_u64(r);
    bool result = m->type == BND_MESSAGE_APPEND_RESULT;
    if (r->failed || first > INDEX_MAX || (result && second > INDEX_MAX) ||
        (!result && !place_valid(first, second, m->term))) {
        return BND_FAIL(err, CORRUPT, "message of type %d is cut or has impossible indexes",
                        (int)m->type);
    }
    if (result) {
        m->append_result = (struct bnd_message_append_result){first, second, flags};
    } else {
        m->timeout_now = (struct bnd_message_timeout_now){first, second};
    }
    return 0;
}

static int decode_body(struct bnd_reader *r, struct bnd_message *m, uint8_t flags,
                       struct bnd_error *err) {
    bool votes = m->type == BND_MESSAGE_VOTE || m->type == BND_MESSAGE_VOTE_RESULT;
    bool result = m->type == BND_MESSAGE_APPEND_RESULT;
    if (flags > (votes ? 3 : result ? 2 : 0)) {
        return BND_FAIL(err, CORRUPT, "message of type %d with flags %u", (int)m->type, flags);
    }
    switch (m->type) {
    case BND_MESSAGE_APPEND:
        return decode_append(r, m, err);
    case BND_MESSAGE_APPEND_RESULT:
    case BND_MESSAGE_TIMEOUT_NOW:
        return decode_pair(r, m, flags, err);
    case BND_MESSAGE_VOTE:
        return decode_vote(r, m, flags, err);
    case BND_MESSAGE_VOTE_RESULT:
        m->vote_result.granted = (flags & FLAG_GRANTED) != 0;
        m->vote_result.pre_vote = (flags & FLAG_PRE_VOTE) != 0;
        return 0;
    case BND_MESSAGE_INSTALL:
        return decode_install(r, m, err);
    default:
        return BND_FAIL(err, CORRUPT, "message of unknown type %d", (int)m->type);
    }
}

int bnd_message_decode(struct bnd_slice bytes, struct bnd_message *out, struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_message m = {0};
    m.type = (enum bnd_message_type)bnd_read_u8(&r);
    uint8_t flags = bnd_read_u8(&r);
    m.gid = bnd_read_u64(&r);
    m.term = bnd_read_u64(&r);
    if (r.failed || m.term == 0 || m.term > INDEX_MAX) {
        return BND_FAIL(err, CORRUPT, "message is cut or has an impossible term");
    }
    int rv = decode_body(&r, &m, flags, err);
    if (rv == 0 && !bnd_reader_done(&r)) {
        rv = BND_FAIL(err, CORRUPT, "message is cut or has %zu bytes too many", r.rest.len);
    }
    if (rv != 0) {
        bnd_message_release(&m);
        return rv;
    }
    *out = m;
    return 0;
}

void bnd_message_release(struct bnd_message *message) {
    bnd_free(message->owned);
    message->owned = NULL;
}

int bnd_message_split(const struct bnd_message *append, size_t bytes_max,
                      int (*each)(void *data, const struct bnd_message *part), void *data) {
    BND_ASSERT(append->type == BND_MESSAGE_APPEND);
    const struct bnd_journal_entry *entries = append->append.entries;
    size_t count = append->append.entries_count;
    size_t from = 0;
    int status = 0;
    do {
        size_t to = from;
        size_t bytes = 0;
        while (to < count &&
               (to == from || bytes + ENTRY_HEAD_BYTES + entries[to].data.len <= bytes_max)) {
            bytes += ENTRY_HEAD_BYTES + entries[to].data.len;
            to++;
        }
        struct bnd_message part = *append;
        part.owned = NULL;
        part.append.entries = from < count ? &entries[from] : NULL;
        part.append.entries_count = to - from;
        if (from > 0) {
            part.append.prev_index = entries[from - 1].index;
            part.append.prev_term = entries[from - 1].term;
        }
        uint64_t last = part.append.prev_index + part.append.entries_count;
        if (part.append.commit > last) {
            part.append.commit = last;
        }
        int rv = each(data, &part);
        status = status == 0 ? rv : status;
        from = to;
    } while (from < count);
    return status;
}
