/* bindery doctor: what is wrong, and what to do about it. */
#include "tools/commands.h"
#include "tools/doctor.h"

const struct tools_flag tools_doctor_flags[] = {
    {"data", "DIR", "look at the files of this stopped node instead of the running cluster"},
    {"pages", NULL, "compare all pages of every D1 database on its replicas, not of the first ten"},
    {0}};

static int online(const struct tools_api *api, struct tools_findings *findings) {
    struct tools_fleet fleet;
    int status = tools_fleet_open(api, &fleet);
    if (status == -1 && !tools_fleet_read(&fleet)) {
        status = TOOLS_FAILED;
    }
    if (status == -1) {
        tools_doctor_online(findings, &fleet);
        tools_doctor_pages(findings, &fleet, tools_args_flag(&api->args, "pages") != NULL);
    } else {
        tools_found(findings, TOOLS_FINDING_BAD, "cluster",
                    "ask another node (--url); if all say so, the nodes that hold group 0 are down "
                    "or apart: bring them back (docs/ops/README.md, Quorum loss)",
                    "%s does not tell who belongs to the cluster: it is down, refuses the token, "
                    "or does not reach group 0 (see %s/readyz?verbose)",
                    api->url, api->url);
    }
    tools_fleet_free(&fleet);
    return -1;
}

int tools_cmd_doctor(int argc, const char **argv) {
    struct tools_api api;
    struct tools_findings findings = {0};
    int status = tools_api_parse(argc, argv, &api);
    const char *data = status == -1 ? tools_args_flag(&api.args, "data") : NULL;
    if (data != NULL) {
        tools_doctor_offline(&findings, data);
    } else if (status == -1) {
        status = online(&api, &findings);
    }
    status = status != -1 ? status : tools_findings_print(&findings, api.json);
    tools_api_free(&api);
    return status;
}
