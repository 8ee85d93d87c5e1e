#include "tests/sim/sql/history.h"

#include "base/assert.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- answers ----------------------------------------------------------------------------------*/

/* Where the rows of the k-th result set begin, behind "rows":[ */
static const char *rows_of(struct bnd_slice text, unsigned k) {
    static const char mark[] = "\"rows\":[";
    const char *at = (const char *)text.data;
    const char *end = at + text.len;
    for (;;) {
        at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1);
        if (at == NULL) {
            return NULL;
        }
        at += sizeof mark - 1;
        if (k-- == 0) {
            return at;
        }
    }
}

long simsql_numbers(struct bnd_slice text, unsigned k, int64_t *out, size_t max) {
    const char *at = rows_of(text, k);
    const char *end = (const char *)text.data + text.len;
    long count = 0;
    if (at == NULL) {
        return -1;
    }
    for (int depth = 1; at < end && depth > 0;) {
        if (*at == '[' || *at == ']') {
            depth += *at == '[' ? 1 : -1;
            at++;
        } else if (*at == ',') {
            at++;
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            char *after = NULL;
            if ((size_t)count == max) {
                return -1;
            }
            out[count++] = strtoll(at, &after, 10);
            at = after;
        } else {
            return -1;
        }
    }
    return count;
}

bool simsql_take_place(struct simsql_op *op, struct bnd_slice text) {
    int64_t told[2];
    if (simsql_numbers(text, 0, told, 2) != 2) {
        return false;
    }
    op->n = told[0];
    op->drawn = told[1];
    return true;
}

bool simsql_cell(struct bnd_slice text, unsigned k, struct bnd_slice *out) {
    const char *at = rows_of(text, k);
    const char *end = (const char *)text.data + text.len;
    if (at == NULL || at == end || *at != '[') {
        return false;
    }
    at++;
    bool quoted = at < end && *at == '"';
    at += quoted;
    const char *stop = at;
    while (stop < end && *stop != (quoted ? '"' : ']')) {
        stop++;
    }
    *out = bnd_slice((const uint8_t *)at, (size_t)(stop - at));
    return stop < end;
}

/* ---- operations -------------------------------------------------------------------------------*/

void simsql_history_free(struct simsql_history *history) {
    for (size_t i = 0; i < history->count; i++) {
        bnd_sim_free(history->ops[i].list);
    }
    bnd_sim_free(history->ops);
    for (size_t d = 0; d < history->databases_count; d++) {
        bnd_sim_free(history->databases[d].line.rows);
        bnd_sim_free(history->databases[d].undo_line.rows);
    }
    *history = (struct simsql_history){0};
}

size_t simsql_history_invoke(struct simsql_history *history, const struct simsql_op *op) {
    if (history->count == history->cap) {
        history->cap = history->cap == 0 ? 256 : 2 * history->cap;
        history->ops = bnd_sim_realloc(history->ops, history->cap * sizeof *history->ops);
    }
    struct simsql_op *stored = &history->ops[history->count];
    *stored = *op;
    stored->invoked_ns = simsql_now_ns(history->cluster);
    stored->invoked_ms = simsql_right_ms(history->cluster);
    stored->n = -1;
    return history->count++;
}

void simsql_history_return(struct simsql_history *history, size_t number,
                           enum simsql_outcome outcome) {
    struct simsql_op *op = &history->ops[number];
    BND_ASSERT(op->outcome == SIMSQL_PENDING && op->returned_ns == 0);
    op->outcome = outcome;
    op->returned_ns = simsql_now_ns(history->cluster);
    op->returned_ms = simsql_right_ms(history->cluster);
    history->acked += outcome == SIMSQL_DONE && op->token != 0;
}

static struct simsql_op *op_of(struct simsql_history *history, int64_t token) {
    for (size_t i = 0; i < history->count; i++) {
        if (history->ops[i].token == token) {
            return &history->ops[i];
        }
    }
    return NULL;
}

/* ---- lines ------------------------------------------------------------------------------------*/

static void line_push(struct simsql_line *line, const struct simsql_row *row) {
    if (line->count == line->cap) {
        line->cap = line->cap == 0 ? 64 : 2 * line->cap;
        line->rows = bnd_sim_realloc(line->rows, line->cap * sizeof *line->rows);
    }
    line->rows[line->count++] = *row;
}

void simsql_line_copy(struct simsql_line *to, const struct simsql_line *from, size_t rows) {
    BND_ASSERT(rows <= from->count);
    to->count = 0;
    for (size_t i = 0; i < rows; i++) {
        line_push(to, &from->rows[i]);
    }
}

void simsql_history_cut(struct simsql_history *history, size_t database, size_t rows) {
    struct simsql_database *cut = &history->databases[database];
    size_t kept = 0;
    BND_ASSERT(rows <= cut->line.count);
    cut->line.count = rows;
    for (size_t i = 0; i < cut->marks_count; i++) {
        if (cut->marks[i].rows <= rows) {
            cut->marks[kept++] = cut->marks[i];
        }
    }
    cut->marks_count = kept;
}

/* Of many the places are drawn by their hash. */
void simsql_history_mark(struct simsql_history *history, size_t number,
                         const struct simsql_mark *mark) {
    struct simsql_database *database = &history->databases[number];
    size_t at = database->marks_count;
    if (at < SIMSQL_MARKS_MAX) {
        database->marks_count++;
    } else {
        at = mark->rows % SIMSQL_MARKS_MAX;
    }
    database->marks[at] = *mark;
}

bool simsql_history_locked(const struct simsql_history *history, size_t database,
                           uint64_t invoked_ms) {
    const struct simsql_database *of = &history->databases[database];
    return of->held_until_ms >= invoked_ms || history->cluster->jumped ||
           of->held_until_ns >= bnd_sim_world_now_ns(history->cluster->world);
}

void simsql_history_erase(struct simsql_history *history, size_t database, uint64_t above) {
    struct simsql_database *erased = &history->databases[database];
    if (erased->erases || erased->erased_count >= SIMSQL_ERASED_MAX) {
        erased->erased_count = SIMSQL_ERASED_MAX + 1;
        erased->erases = true;
        return;
    }
    erased->erased[erased->erased_count++].from = above;
    erased->erases = true;
}

void simsql_history_replace(struct simsql_history *history, size_t database,
                            const struct simsql_line *line) {
    history->databases[database].marks_count = 0;
    simsql_line_copy(&history->databases[database].line, line, line->count);
}

void simsql_history_fork(struct simsql_history *history, size_t database, size_t rows,
                         const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    BND_ASSERT(history->databases_count < SIMSQL_DATABASES_MAX);
    struct simsql_database *fork = &history->databases[history->databases_count++];
    *fork = (struct simsql_database){.checked = history->count,
                                     .made_ms = simsql_right_ms(history->cluster)};
    memcpy(fork->uuid, uuid, sizeof fork->uuid);
    simsql_line_copy(&fork->line, &history->databases[database].line, rows);
}

void simsql_history_renew(struct simsql_history *history, size_t number,
                          const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct simsql_database *database = &history->databases[number];
    BND_ASSERT(database->paused && database->under_way == 0);
    bnd_sim_free(database->line.rows);
    bnd_sim_free(database->undo_line.rows);
    *database = (struct simsql_database){
        .checked = history->count, .made_ms = simsql_right_ms(history->cluster), .paused = true};
    memcpy(database->uuid, uuid, sizeof database->uuid);
}

/* ---- times ------------------------------------------------------------------------------------*/

/* A stamp is its leader's clock's, and none falls below the last: so far ahead or behind. */
#define STAMP_MS UINT64_C(1500)

static void check_time(const struct simsql_history *history, size_t number, uint64_t at_ms,
                       const struct bnd_sql_bookmark *place) {
    for (size_t i = 0; i < history->count; i++) {
        const struct simsql_op *op = &history->ops[i];
        if (op->database != number || op->token == 0 || op->outcome != SIMSQL_DONE ||
            op->invoked_ms < history->databases[number].made_ms) {
            continue;
        }
        bool before = op->returned_ms + STAMP_MS < at_ms;
        bool after = op->invoked_ms > at_ms + STAMP_MS;
        if ((before && op->place.version > place->version) ||
            (after && op->place.version <= place->version)) {
            bnd_sim_violation(&history->cluster->check,
                              "TIME: database %zu: at %" PRIu64 " ms it stood at version %" PRIu64
                              ", but version %" PRIu64 " was written from %" PRIu64 " to %" PRIu64,
                              number, at_ms, place->version, op->place.version, op->invoked_ms,
                              op->returned_ms);
        }
    }
}

static bool is_on_line(const struct simsql_database *database, uint64_t version) {
    if (database->erases || database->erased_count > SIMSQL_ERASED_MAX) {
        return false;
    }
    for (size_t i = 0; i < database->erased_count; i++) {
        const struct simsql_erased *erased = &database->erased[i];
        if (version > erased->from && version < erased->to) {
            return false;
        }
    }
    return true;
}

bool simsql_history_at_time(struct simsql_history *history, size_t number, uint64_t at_ms,
                            const struct bnd_sql_bookmark *place, size_t *out_rows) {
    const struct simsql_database *database = &history->databases[number];
    if (!history->cluster->jumped) {
        check_time(history, number, at_ms, place);
    }
    if (!is_on_line(database, place->version)) {
        return false;
    }
    size_t low = 0;
    size_t high = database->line.count;
    for (size_t i = 0; i < database->line.count; i++) {
        const struct simsql_op *op = op_of(history, database->line.rows[i].token);
        bool inherited = op->database != number || op->invoked_ms < database->made_ms;
        if (!inherited && op->place.version == 0) {
            continue; /* its place was never told */
        }
        if (inherited || op->place.version <= place->version) {
            low = i + 1;
        } else {
            high = i;
            break;
        }
    }
    *out_rows = low;
    return low == high;
}

/* ---- the model --------------------------------------------------------------------------------*/

struct model {
    int64_t accounts[SIMSQL_ACCOUNTS];
    struct bnd_buf lists[SIMSQL_KEYS]; /* tokens, as group_concat has them */
    int64_t registers[SIMSQL_KEYS];    /* -1: never set */
};

static void model_begin(struct model *model) {
    *model = (struct model){0};
    for (size_t i = 0; i < SIMSQL_ACCOUNTS; i++) {
        model->accounts[i] = SIMSQL_BALANCE;
    }
    for (size_t i = 0; i < SIMSQL_KEYS; i++) {
        model->registers[i] = -1;
    }
}

static void model_end(struct model *model) {
    for (size_t i = 0; i < SIMSQL_KEYS; i++) {
        bnd_buf_free(&model->lists[i]);
    }
}

static void model_apply(struct model *model, const struct simsql_row *row) {
    switch (row->kind) {
    case SIMSQL_APPEND: {
        struct bnd_buf *list = &model->lists[row->a % SIMSQL_KEYS];
        bnd_buf_printf(list, "%s%" PRId64, list->len > 0 ? "," : "", row->token);
        break;
    }
    case SIMSQL_TRANSFER:
        model->accounts[row->a % SIMSQL_ACCOUNTS] -= row->c;
        model->accounts[row->b % SIMSQL_ACCOUNTS] += row->c;
        break;
    case SIMSQL_REGISTER:
        model->registers[row->a % SIMSQL_KEYS] = row->b;
        break;
    case SIMSQL_CLEAR:
        bnd_buf_reset(&model->lists[row->a % SIMSQL_KEYS]);
        break;
    default:
        break;
    }
}

/* ---- the check --------------------------------------------------------------------------------*/

struct checking {
    struct simsql_history *history;
    struct bnd_sim_check *check;
    size_t number; /* of the database */
    struct simsql_database *database;
    size_t old_rows;
    bool erases; /* there was a restore since the last dump */
};

/* Was it on the part of the line that a restore has taken away? */
static bool is_erased(const struct checking *checking, const struct simsql_op *op) {
    const struct simsql_database *database = checking->database;
    return checking->erases && op->place.epoch == database->dumped.epoch &&
           op->place.version > database->nudge.bookmark.version;
}

static void check_read(const struct checking *checking, const struct model *model,
                       const struct simsql_op *op) {
    struct bnd_slice list = bnd_buf_slice(&model->lists[op->a % SIMSQL_KEYS]);
    if (op->bank != (int64_t)SIMSQL_ACCOUNTS * SIMSQL_BALANCE) {
        bnd_sim_violation(checking->check,
                          "BANK: database %zu: a read after %" PRId64 " transactions finds %" PRId64
                          " in all accounts",
                          checking->number, op->n, op->bank);
    }
    if (op->value != model->registers[op->b % SIMSQL_KEYS]) {
        bnd_sim_violation(checking->check,
                          "READ: database %zu: after %" PRId64 " transactions register %" PRId64
                          " is %" PRId64 ", not %" PRId64,
                          checking->number, op->n, op->b, op->value,
                          model->registers[op->b % SIMSQL_KEYS]);
    }
    if (!bnd_slice_eq(bnd_slice_str(op->list), list)) {
        bnd_sim_violation(checking->check,
                          "READ: database %zu: after %" PRId64 " transactions list %" PRId64
                          " is [%s], not [%.*s]",
                          checking->number, op->n, op->a, op->list, (int)list.len,
                          (const char *)list.data);
    }
}

/* Those of the segment that stand after exactly n transactions. */
static void check_reads(const struct checking *checking, const struct model *model, int64_t n) {
    for (size_t i = checking->database->checked; i < checking->history->count; i++) {
        const struct simsql_op *op = &checking->history->ops[i];
        if (op->database == checking->number && op->kind == SIMSQL_READ &&
            op->outcome == SIMSQL_DONE && op->n == n && !is_erased(checking, op)) {
            check_read(checking, model, op);
        }
    }
}

static bool same_ints(const int64_t *a, const int64_t *b, size_t count) {
    return memcmp(a, b, count * sizeof *a) == 0;
}

static bool check_tables(const struct checking *checking, const struct model *model,
                         struct bnd_slice text) {
    int64_t accounts[2 * SIMSQL_ACCOUNTS];
    int64_t wanted[2 * SIMSQL_ACCOUNTS];
    struct bnd_slice list;
    bool right = simsql_numbers(text, 1, accounts, 2 * SIMSQL_ACCOUNTS) == 2 * SIMSQL_ACCOUNTS;
    for (int64_t i = 0; i < SIMSQL_ACCOUNTS; i++) {
        wanted[2 * i] = i;
        wanted[2 * i + 1] = model->accounts[i];
    }
    right = right && same_ints(accounts, wanted, 2 * SIMSQL_ACCOUNTS);
    for (unsigned k = 0; k < SIMSQL_KEYS; k++) {
        int64_t value = -1;
        right = right && simsql_cell(text, 2 + k, &list) &&
                bnd_slice_eq(list, bnd_buf_slice(&model->lists[k])) &&
                simsql_numbers(text, 2 + SIMSQL_KEYS + k, &value, 1) == 1 &&
                value == model->registers[k];
    }
    if (!right) {
        bnd_sim_violation(checking->check,
                          "MODEL: database %zu: its tables are not what its %zu transactions make: "
                          "%.*s",
                          checking->number, checking->database->line.count,
                          (int)(text.len < 300 ? text.len : 300), (const char *)text.data);
    }
    return right;
}

/* New rows have an operation each, which may be there; old ones are as they were. */
static bool take_row(struct checking *checking, size_t at, const struct simsql_row *row) {
    struct simsql_line *line = &checking->database->line;
    if (at < checking->old_rows) {
        if (memcmp(&line->rows[at], row, sizeof *row) != 0) {
            bnd_sim_violation(checking->check,
                              "LOST: database %zu: transaction %zu is %" PRId64
                              " now, and was %" PRId64,
                              checking->number, at + 1, row->token, line->rows[at].token);
            return false;
        }
        return true;
    }
    struct simsql_op *op = op_of(checking->history, row->token);
    bool its = op != NULL && op->database == checking->number && op->kind == row->kind &&
               op->a == row->a && op->b == row->b && op->c == row->c;
    if (!its || op->seen || op->outcome == SIMSQL_NONE) {
        bnd_sim_violation(checking->check, "%s: database %zu: transaction %zu is %" PRId64,
                          !its       ? "INVENTED"
                          : op->seen ? "TWICE"
                                     : "NOT EXECUTED, BUT THERE",
                          checking->number, at + 1, row->token);
        return false;
    }
    op->seen = true;
    if (op->outcome == SIMSQL_DONE && op->n >= 0 &&
        (op->n != (int64_t)at + 1 || op->drawn != row->drawn)) {
        bnd_sim_violation(checking->check,
                          "PLACE: database %zu: transaction %" PRId64
                          " is number %zu and drew %" PRId64 ", and was told %" PRId64
                          " and %" PRId64,
                          checking->number, row->token, at + 1, row->drawn, op->n, op->drawn);
    }
    op->n = (int64_t)at + 1;
    line_push(line, row);
    return true;
}

#define ROW_CELLS 7 /* of table tx */

static bool take_rows(struct checking *checking, struct bnd_slice text) {
    size_t max = ROW_CELLS * (checking->history->count + 16);
    int64_t *numbers = bnd_sim_zalloc(max * sizeof *numbers);
    long count = simsql_numbers(text, 0, numbers, max);
    bool right =
        count >= 0 && count % ROW_CELLS == 0 && (size_t)count / ROW_CELLS >= checking->old_rows;
    if (!right) {
        bnd_sim_violation(checking->check,
                          "LOST: database %zu: %ld cells of transactions where "
                          "there were %zu transactions: %.*s",
                          checking->number, count, checking->old_rows,
                          (int)(text.len < 200 ? text.len : 200), (const char *)text.data);
    }
    for (size_t i = 0; right && i < (size_t)count / ROW_CELLS; i++) {
        const int64_t *row = &numbers[ROW_CELLS * i];
        const struct simsql_row taken = {.token = row[1],
                                         .kind = row[2],
                                         .a = row[3],
                                         .b = row[4],
                                         .c = row[5],
                                         .drawn = row[6]};
        if (row[0] != (int64_t)i + 1) {
            bnd_sim_violation(checking->check,
                              "GAP: database %zu: transaction %" PRId64 " in place %zu",
                              checking->number, row[0], i + 1);
            right = false;
        } else {
            right = take_row(checking, i, &taken);
        }
    }
    bnd_sim_free(numbers);
    return right;
}

/* What was acknowledged is there. */
static void check_acknowledged(const struct checking *checking, const struct simsql_op *op) {
    if (op->token != 0 && !op->seen) {
        bnd_sim_violation(checking->check,
                          "LOST: database %zu: transaction %" PRId64 " was acknowledged",
                          checking->number, op->token);
    } else if (op->n > (int64_t)checking->database->line.count) {
        bnd_sim_violation(checking->check,
                          "FUTURE: database %zu: an operation stands after %" PRId64
                          " of %zu transactions",
                          checking->number, op->n, checking->database->line.count);
    }
}

/* Real time: what had returned before it began lies below, or for a read not above. */
static void check_order(const struct checking *checking, size_t at) {
    const struct simsql_history *history = checking->history;
    const struct simsql_op *op = &history->ops[at];
    uint64_t floor = checking->database->dumped.version;
    for (size_t k = checking->database->checked; k < at; k++) {
        const struct simsql_op *other = &history->ops[k];
        if (other->database == checking->number && other->outcome == SIMSQL_DONE &&
            other->returned_ns < op->invoked_ns && other->place.version > floor) {
            floor = other->place.version;
        }
    }
    if (op->place.version < floor + (op->token != 0)) {
        bnd_sim_violation(checking->check,
                          "ORDER: database %zu: an operation (token %" PRId64
                          ") begun after one of version %" PRIu64
                          " had returned is of version %" PRIu64,
                          checking->number, op->token, floor, op->place.version);
    }
}

/* A piece of an import is there if the one before it is, and right behind it. */
static void check_piece(const struct checking *checking, size_t at) {
    const struct simsql_history *history = checking->history;
    const struct simsql_op *piece = &history->ops[at];
    for (size_t k = at; k > checking->database->checked; k--) {
        const struct simsql_op *other = &history->ops[k - 1];
        if (other->import != piece->import || other->outcome == SIMSQL_NONE) {
            continue;
        }
        if (other->seen != piece->seen || (piece->seen && piece->n != other->n + 1)) {
            bnd_sim_violation(checking->check,
                              "IMPORT: database %zu: of one import transaction %" PRId64
                              " is %s, and %" PRId64 " %s",
                              checking->number, other->token, other->seen ? "there" : "not there",
                              piece->token, piece->seen ? "is, elsewhere" : "is not");
        }
        return;
    }
}

static void check_ops(const struct checking *checking) {
    const struct simsql_history *history = checking->history;
    for (size_t i = checking->database->checked; i < history->count; i++) {
        const struct simsql_op *op = &history->ops[i];
        if (op->database == checking->number && op->import != 0 && op->outcome != SIMSQL_NONE) {
            check_piece(checking, i);
        }
    }
    for (size_t i = checking->database->checked; i < history->count; i++) {
        const struct simsql_op *op = &history->ops[i];
        if (op->database != checking->number || op->outcome != SIMSQL_DONE) {
            continue;
        }
        if (!is_erased(checking, op)) {
            check_acknowledged(checking, op);
        }
        if (!op->stale) {
            check_order(checking, i);
        }
    }
}

/* A restore since the last dump, if there was one: the line is known up to its target at most. */
static void take_restore(struct checking *checking, uint32_t epoch) {
    struct simsql_database *database = checking->database;
    size_t kept = 0;
    checking->erases = database->nudged && epoch != database->dumped.epoch;
    if (!checking->erases) {
        return;
    }
    checking->history->cluster->counts.restores_under_load++;
    simsql_history_erase(checking->history, checking->number, database->nudge.bookmark.version);
    if (database->nudge.rows < database->line.count) {
        database->line.count = database->nudge.rows;
    }
    for (size_t i = 0; i < database->marks_count; i++) {
        const struct simsql_mark *mark = &database->marks[i];
        if (mark->bookmark.epoch > database->dumped.epoch || mark->rows <= database->nudge.rows) {
            database->marks[kept++] = *mark; /* made since, or on what is left */
        }
    }
    database->marks_count = kept;
    database->undoable = false;
    checking->old_rows = database->line.count;
}

bool simsql_history_dump(struct simsql_history *history, size_t number,
                         const struct bnd_sql_answer *answer) {
    struct simsql_database *database = &history->databases[number];
    struct checking checking = {.history = history,
                                .check = &history->cluster->check,
                                .number = number,
                                .database = database,
                                .old_rows = database->line.count};
    struct bnd_sql_bookmark place;
    struct model model;
    bnd_sql_bookmark_get(answer->bookmark, &place);
    model_begin(&model);
    take_restore(&checking, place.epoch);
    bool right = take_rows(&checking, answer->text);
    if (right) {
        check_ops(&checking);
        check_reads(&checking, &model, 0);
        for (size_t i = 0; i < database->line.count; i++) {
            model_apply(&model, &database->line.rows[i]);
            check_reads(&checking, &model, (int64_t)i + 1);
        }
        right = check_tables(&checking, &model, answer->text);
    }
    model_end(&model);
    if (database->erases) {
        database->erases = false;
        if (database->erased_count <= SIMSQL_ERASED_MAX) {
            database->erased[database->erased_count - 1].to = place.version;
        }
    }
    database->checked = history->count;
    database->dumped = place;
    database->nudged = false;
    database->imported = false;
    return right;
}
