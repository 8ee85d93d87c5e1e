/* The bytes of a survey (internal to raft/; SPEC.md, "Survey"). */
#ifndef BND_RAFT_SURVEY_WIRE_H
#define BND_RAFT_SURVEY_WIRE_H

#include "raft/survey.h"

/* Begins an answer; then one survey_group_encode per group. */
void survey_reply_begin(struct bnd_buf *out);
/* `leader` is not in the bytes: it is the sender. */
void survey_group_encode(const struct bnd_survey_group *group, struct bnd_buf *out);

/* Reads an answer: calls each(group) in order. BND_CORRUPT: `each` may have been called before it
 * was noticed. */
int survey_reply_decode(struct bnd_slice bytes,
                        void (*each)(void *data, const struct bnd_survey_group *group), void *data);

#endif
