/* Between the files of gateway/admin. */
#ifndef BND_GATEWAY_ADMIN_ADMIN_PRIVATE_H
#define BND_GATEWAY_ADMIN_ADMIN_PRIVATE_H

#include "gateway/rest_request.h"

void admin_run_metrics(struct rest_request *request);

#endif
