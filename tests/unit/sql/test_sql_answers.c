/* What released workerd answers to a few hundred statements of all kinds, Bindery answers too, but
 * where workerd_answers.txt says why not (`*`; its form: record_workerd.py). */
#include "tests/unit/sql/connection_rig.h"

#define LINE_MAX 8192

/* The answer of the last run as the file has it. */
static void put_answer(struct rig *rig, char out[LINE_MAX]) {
    if (rig->run.outcome == BND_SQL_FAILED) {
        snprintf(out, LINE_MAX, "%s", text(rig));
        return;
    }
    const char *meta = strstr(text(rig), "\"changes\":");
    assert_non_null(meta);
    const char *times = strstr(meta, ",\"timings\":");
    assert_non_null(times);
    snprintf(out, LINE_MAX, "{\"results\":%s,\"meta\":{%.*s}}", results(rig, 0),
             (int)(times - meta), meta);
}

static bool read_line(FILE *file, char line[LINE_MAX]) {
    if (fgets(line, LINE_MAX, file) == NULL) {
        return false;
    }
    size_t len = strcspn(line, "\n");
    assert_true(line[len] == '\n');
    line[len] = 0;
    return true;
}

static void test_answers(void **state) {
    struct rig rig;
    rig_open(&rig);
    FILE *file = fopen(SQL_ANSWERS, "r");
    assert_non_null(file);
    static char line[LINE_MAX], sql[LINE_MAX], ours[LINE_MAX];
    int asked = 0, equal = 0, own = 0;
    bool differs = false;
    while (read_line(file, line)) {
        if (line[0] == '>') {
            assert_false(differs);
            snprintf(sql, sizeof sql, "%s", line + 2);
            begin(&rig);
            add(&rig, sql, 0);
            assert_int_equal(go(&rig), 0);
            put_answer(&rig, ours);
            asked++;
        } else if (line[0] == '<') {
            differs = strcmp(line + 2, ours) != 0;
            equal += !differs;
        } else if (line[0] == '*') {
            assert_true(differs);
            differs = false;
            assert_string_equal(ours, line + 2);
            own++;
        }
        if (differs && line[0] != '<' && line[0] != '#') {
            fail_msg("%s\n%s", sql, ours);
        }
    }
    if (differs) {
        fail_msg("%s\n%s", sql, ours);
    }
    assert_int_equal(equal + own, asked);
    assert_true(asked > 150 && own < 10);
    fclose(file);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
