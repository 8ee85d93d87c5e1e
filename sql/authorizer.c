#include "sql/authorizer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sql/sqlite.h"

/* In the order of strcmp. */
/* clang-format off */
static const char *const functions[] = {
    "->", "->>", "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "avg", "bm25",
    "ceil", "ceiling", "changes", "char", "coalesce", "concat", "concat_ws", "cos", "cosh",
    "count", "cume_dist", "current_date", "current_time", "current_timestamp", "date", "datetime",
    "degrees", "dense_rank", "exp", "first_value", "floor", "format", "glob", "group_concat",
    "hex", "highlight", "if", "ifnull", "iif", "instr", "json", "json_array", "json_array_length",
    "json_error_position", "json_extract", "json_group_array", "json_group_object", "json_insert",
    "json_object", "json_patch", "json_pretty", "json_quote", "json_remove", "json_replace",
    "json_set", "json_type", "json_valid", "jsonb", "jsonb_array", "jsonb_extract",
    "jsonb_group_array", "jsonb_group_object", "jsonb_insert", "jsonb_object", "jsonb_patch",
    "jsonb_remove", "jsonb_replace", "jsonb_set", "julianday", "lag", "last_insert_rowid",
    "last_value", "lead", "length", "like", "likelihood", "likely", "ln", "log", "log10", "log2",
    "lower", "ltrim", "match", "max", "min", "mod", "nth_value", "ntile", "nullif", "octet_length",
    "percent_rank", "pi", "pow", "power", "printf", "quote", "radians", "random", "randomblob",
    "rank", "replace", "round", "row_number", "rtreecheck", "rtrim", "sign", "sin", "sinh",
    "snippet", "soundex", "sqlite_add_constraint", "sqlite_drop_column", "sqlite_drop_constraint",
    "sqlite_fail", "sqlite_find_constraint", "sqlite_rename_column", "sqlite_rename_quotefix",
    "sqlite_rename_table", "sqlite_rename_test", "sqrt", "strftime", "string_agg", "substr",
    "substring", "sum", "tan", "tanh", "time", "timediff", "total", "total_changes", "trim",
    "trunc", "typeof", "unhex", "unicode", "unixepoch", "unlikely", "upper", "zeroblob",
};
/* clang-format on */

enum argument {
    NONE,    /* no argument */
    BOOLEAN, /* one of SQLite's words for true and false: sets; without it, tells */
    NAME,    /* of a table or index */
    NAME_OR_NONE,
    NUMBER_OR_NONE,
    NUMBER_OR_NAME, /* or nothing */
    ANYTHING,
};

/* In the order of strcmp. */
static const struct pragma {
    const char *name;
    enum argument argument;
} pragmas[] = {
    {"case_sensitive_like", BOOLEAN},
    {"data_version", NONE},
    {"defer_foreign_keys", BOOLEAN},
    {"foreign_key_check", NAME_OR_NONE},
    {"foreign_key_list", NAME},
    {"foreign_keys", BOOLEAN},
    {"ignore_check_constraints", BOOLEAN},
    {"index_info", NAME},
    {"index_list", NAME},
    {"index_xinfo", NAME},
    {"legacy_alter_table", BOOLEAN},
    {"optimize", NUMBER_OR_NONE},
    {"page_size", NONE}, /* R*Tree asks for it */
    {"quick_check", NUMBER_OR_NAME},
    {"recursive_triggers", BOOLEAN},
    {"reverse_unordered_selects", BOOLEAN},
    {"table_info", NAME},
    {"table_list", ANYTHING},
    {"table_xinfo", NAME},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int compare_name(const void *key, const void *item) {
    return strcmp(key, *(const char *const *)item);
}

static int compare_pragma(const void *key, const void *item) {
    return strcmp(key, ((const struct pragma *)item)->name);
}

/* Names that D1 keeps for itself. */
static bool is_free(const char *name) {
    return name != NULL && strncasecmp(name, "_cf_", 4) != 0;
}

static bool is_boolean(const char *text) {
    static const char *const words[] = {"0", "1", "no", "yes", "off", "on", "false", "true"};
    for (size_t i = 0; i < COUNT(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_number(const char *text) {
    const char *digits = text + (*text == '-' || *text == '+' ? 1 : 0);
    size_t len = strspn(digits, "0123456789");
    return len > 0 && len <= 10 && digits[len] == 0;
}

static bool argument_is(enum argument kind, const char *argument) {
    bool none = argument == NULL;
    switch (kind) {
    case NONE:
        return none;
    case BOOLEAN:
        return none || is_boolean(argument);
    case NAME:
        return is_free(argument);
    case NAME_OR_NONE:
        return none || is_free(argument);
    case NUMBER_OR_NONE:
        return none || is_number(argument);
    case NUMBER_OR_NAME:
        return none || is_number(argument) || is_free(argument);
    case ANYTHING:
        return true;
    default:
        return false;
    }
}

static bool pragma_goes(struct sql_authorizer *self, const char *name, const char *argument) {
    const struct pragma *pragma =
        bsearch(name, pragmas, COUNT(pragmas), sizeof pragmas[0], compare_pragma);
    if (pragma == NULL || !argument_is(pragma->argument, argument)) {
        return false;
    }
    self->pragma = true;
    self->setting = self->setting || (pragma->argument == BOOLEAN && argument != NULL);
    self->writes = self->writes || strcmp(name, "optimize") == 0;
    return true;
}

static bool function_goes(const char *name) {
    return bsearch(name, functions, COUNT(functions), sizeof functions[0], compare_name) != NULL;
}

static bool module_goes(const char *name) {
    static const char *const modules[] = {"fts5", "fts5vocab", "rtree", "rtree_i32"};
    for (size_t i = 0; i < COUNT(modules) && name != NULL; i++) {
        if (strcasecmp(name, modules[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool goes(struct sql_authorizer *self, int action, const char *first, const char *second) {
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
    case SQLITE_ANALYZE: /* all tables, or it would be of no use; it tells no rows */
        return true;
    case SQLITE_READ:
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
    case SQLITE_CREATE_TABLE:
    case SQLITE_DROP_TABLE:
    case SQLITE_CREATE_VIEW:
    case SQLITE_DROP_VIEW:
    case SQLITE_REINDEX:
        return is_free(first);
    case SQLITE_CREATE_INDEX:
    case SQLITE_DROP_INDEX:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_DROP_TRIGGER:
        return is_free(first) && is_free(second);
    case SQLITE_ALTER_TABLE: /* its name; the new one or a column */
        return is_free(first) && (second == NULL || is_free(second));
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_VTABLE:
        return is_free(first) && module_goes(second);
    case SQLITE_PRAGMA:
        return pragma_goes(self, first, second);
    case SQLITE_FUNCTION:
        return function_goes(second);
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        self->transaction = true;
        return false;
    default: /* attached databases, temporary things, what is not known */
        return false;
    }
}

int sql_authorize(void *data, int action, const char *first, const char *second,
                  const char *database, const char *trigger) {
    struct sql_authorizer *self = data;
    if (self->trusted) {
        return SQLITE_OK;
    }
    if (action == SQLITE_ALTER_TABLE) { /* which has its arguments in an order of its own */
        const char *table = second;
        second = database;
        database = first;
        first = table;
    }
    bool allowed = database == NULL || strcmp(database, "main") == 0
                       ? goes(self, action, first, second)
                       : strcmp(database, "temp") == 0 &&
                             (action == SQLITE_READ || action == SQLITE_UPDATE) && is_free(first);
    return allowed ? SQLITE_OK : SQLITE_DENY;
}
