#include "tools/findings.h"

#include "tools/command.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const words[] = {"ok", "warn", "bad"};
static const char *const labels[] = {"ok  ", "WARN", "BAD "};

void tools_found(struct tools_findings *findings, enum tools_severity severity, const char *subject,
                 const char *advice, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* a cut text is still one */
    va_end(args);
    findings->counts[severity]++;
    if (findings->list == NULL) {
        findings->list = json_array();
    }
    /* Without memory a finding is counted and not shown. */
    (void)json_array_append_new(findings->list,
                                json_pack("{s:s, s:s, s:s, s:s?}", "severity", words[severity],
                                          "subject", subject, "text", text, "advice", advice));
}

static void print_lines(const struct tools_findings *findings) {
    for (int severity = TOOLS_FINDING_BAD; severity >= TOOLS_FINDING_OK; severity--) {
        size_t i = 0;
        json_t *finding = NULL;
        json_array_foreach(findings->list, i, finding) {
            const char *word = json_string_value(json_object_get(finding, "severity"));
            const char *advice = json_string_value(json_object_get(finding, "advice"));
            if (word != NULL && word[0] == words[severity][0]) {
                (void)printf("%s  %s: %s\n", labels[severity],
                             json_string_value(json_object_get(finding, "subject")),
                             json_string_value(json_object_get(finding, "text")));
                if (advice != NULL) {
                    (void)printf("      %s\n", advice);
                }
            }
        }
    }
    (void)printf("%u bad, %u to look at, %u in order\n", findings->counts[TOOLS_FINDING_BAD],
                 findings->counts[TOOLS_FINDING_WARN], findings->counts[TOOLS_FINDING_OK]);
}

int tools_findings_print(struct tools_findings *findings, bool json) {
    unsigned bad = findings->counts[TOOLS_FINDING_BAD];
    if (json) {
        json_t *all =
            json_pack("{s:b, s:i, s:i, s:O?}", "healthy", bad == 0, "bad", (int)bad, "warnings",
                      (int)findings->counts[TOOLS_FINDING_WARN], "findings", findings->list);
        (void)json_dumpf(all, stdout, JSON_INDENT(2)); /* a closed stdout is the reader's choice */
        (void)printf("\n");
        json_decref(all);
    } else {
        print_lines(findings);
    }
    json_decref(findings->list);
    findings->list = NULL;
    return bad == 0 ? TOOLS_OK : TOOLS_FAILED;
}
