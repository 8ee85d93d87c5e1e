/* What a check found: printed as lines, or as one JSON document. */
#ifndef BND_TOOLS_FINDINGS_H
#define BND_TOOLS_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>

/* BAD: something is broken or about to be; WARN: it works, but should be looked at; OK: checked. */
enum tools_severity { TOOLS_FINDING_OK, TOOLS_FINDING_WARN, TOOLS_FINDING_BAD };

struct tools_findings {
    json_t *list;
    unsigned counts[3]; /* by severity */
};

/* Adds one: what was looked at ("node 2", "journal"), what is the case, and what to do about it
 * (NULL: nothing). */
void tools_found(struct tools_findings *findings, enum tools_severity severity, const char *subject,
                 const char *advice, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Prints all and frees the list. json: {"healthy": bool, "bad": n, "warnings": n, "findings":
 * [{"severity", "subject", "text", "advice"}]}; else lines, the worst first, and a summary. Returns
 * the exit status: TOOLS_OK if nothing is bad. */
int tools_findings_print(struct tools_findings *findings, bool json);

#endif
