/* The checks of `bindery doctor`. */
#ifndef BND_TOOLS_DOCTOR_H
#define BND_TOOLS_DOCTOR_H

#include "tools/findings.h"
#include "tools/fleet.h"

/* A running cluster, seen through its REST ports. */
void tools_doctor_online(struct tools_findings *findings, const struct tools_fleet *fleet);
/* Reads all pages of D1's databases on every replica that is up, of the first few, or of all. */
void tools_doctor_pages(struct tools_findings *findings, const struct tools_fleet *fleet, bool all);
/* The data directory of a stopped node: reads everything that is in use, changes nothing. */
void tools_doctor_offline(struct tools_findings *findings, const char *data);

#endif
