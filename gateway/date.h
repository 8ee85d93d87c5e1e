/* Dates of HTTP, and times as JSON and XML have them (RFC 3339): internal to gateway/. Pure. */
#ifndef BND_GATEWAY_DATE_H
#define BND_GATEWAY_DATE_H

#include "base/bytes.h"

#define GATEWAY_DATE_TEXT 32

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7) of milliseconds since 1970. */
void gateway_date_http(uint64_t ms, char out[GATEWAY_DATE_TEXT]);
/* "2009-10-12T17:50:30.000Z". */
void gateway_date_iso(uint64_t ms, char out[GATEWAY_DATE_TEXT]);
/* Reads the three forms of an HTTP date. False for anything else, and for years before 1970. */
bool gateway_date_parse(struct bnd_slice text, uint64_t *out_ms);

/* Reads "2009-10-12T17:50:30.000Z": seconds or none; a fraction of 1 to 9 digits, of which three
 * count, or none; Z or an offset as +02:00. False for anything else, and for what is before 1970.
 */
bool gateway_date_iso_parse(struct bnd_slice text, uint64_t *out_ms);

#endif
