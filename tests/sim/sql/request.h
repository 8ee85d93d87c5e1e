/* The SQL of the simulated clients, encoded (sql/request.h). Appended to empty buffers. */
#ifndef BND_TESTS_SIM_SQL_REQUEST_H
#define BND_TESTS_SIM_SQL_REQUEST_H

#include "tests/sim/sql/history.h"

/* The tables of a new database, and what stands in them. Once. */
void simsql_request_setup(struct bnd_buf *out);
/* bookmark NULL: on the primary, or of a stale read: anywhere. */
void simsql_request_op(struct bnd_buf *out, const struct simsql_op *op, const uint8_t *bookmark,
                       struct bnd_sim_rng *rng);
/* Everything: transactions; accounts; the lists, one after the other; the registers. */
void simsql_request_dump(struct bnd_buf *out);

#endif
