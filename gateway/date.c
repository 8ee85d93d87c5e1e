/* HTTP dates and times as in JSON and XML, without locale or time zone. */
#include "gateway/date.h"

#include <stdio.h>
#include <time.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Times past the year 9999 are no dates that clients know: they are shown as its last second. */
#define LAST_MS UINT64_C(253402300799999)

static struct tm split(uint64_t ms) {
    struct tm tm;
    time_t seconds = (time_t)((ms < LAST_MS ? ms : LAST_MS) / 1000);
    (void)gmtime_r(&seconds, &tm); /* cannot fail within four-digit years */
    return tm;
}

void gateway_date_http(uint64_t ms, char out[GATEWAY_DATE_TEXT]) {
    struct tm tm = split(ms);
    (void)snprintf(out, GATEWAY_DATE_TEXT, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday],
                   (unsigned)tm.tm_mday % 100, months[tm.tm_mon],
                   (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
                   (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

void gateway_date_iso(uint64_t ms, char out[GATEWAY_DATE_TEXT]) {
    struct tm tm = split(ms);
    (void)snprintf(out, GATEWAY_DATE_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
                   (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
                   (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100, (unsigned)(ms % 1000));
}

static int month_of(const char name[4]) {
    for (int i = 0; i < 12; i++) {
        if (strcmp(name, months[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* There is such a day, and such a time of it. */
static bool in_range(const struct tm *tm) {
    struct tm day = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};
    (void)timegm(&day); /* moves the 31st of a month of 30 days on */
    return tm->tm_year >= 70 && tm->tm_mon >= 0 && tm->tm_mon <= 11 && tm->tm_mday >= 1 &&
           tm->tm_mday == day.tm_mday && tm->tm_hour >= 0 && tm->tm_hour <= 23 && tm->tm_min >= 0 &&
           tm->tm_min <= 59 && tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

static int *number_of(struct tm *tm, char form) {
    switch (form) {
    case 'Y':
        return &tm->tm_year;
    case 'M':
        return &tm->tm_mon;
    case 'D':
        return &tm->tm_mday;
    case 'h':
        return &tm->tm_hour;
    case 'm':
        return &tm->tm_min;
    case 's':
        return &tm->tm_sec;
    default:
        return NULL;
    }
}

/* Reads what has the form "YYYY-MM-DD": a letter of number_of is a digit of that number, all else
 * is itself. False: it has another. What was read is gone from *text. */
static bool read_form(const char *form, struct bnd_slice *text, struct tm *tm) {
    size_t len = strlen(form);
    if (text->len < len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = text->data[i];
        int *number = number_of(tm, form[i]);
        if (number == NULL ? c != form[i] : c < '0' || c > '9') {
            return false;
        }
        if (number != NULL) {
            *number = *number * 10 + (c - '0');
        }
    }
    *text = bnd_slice(text->data + len, text->len - len);
    return true;
}

/* ".5", ".500000": at most nine digits, of which three count. */
static bool read_fraction(struct bnd_slice *text, unsigned *out_ms) {
    unsigned weight = 100;
    size_t at = 1;
    *out_ms = 0;
    if (text->len == 0 || text->data[0] != '.') {
        return true;
    }
    for (; at < text->len && text->data[at] >= '0' && text->data[at] <= '9'; at++) {
        *out_ms += weight * (unsigned)(text->data[at] - '0');
        weight /= 10;
    }
    *text = bnd_slice(text->data + at, text->len - at);
    return at > 1 && at <= 10;
}

/* "Z" or "+02:00", to the end. */
static bool read_offset(struct bnd_slice text, int *out_minutes) {
    struct tm offset = {0};
    int sign = text.len > 0 && text.data[0] == '-' ? -1 : 1;
    *out_minutes = 0;
    if (bnd_slice_eq(text, bnd_slice_str("Z"))) {
        return true;
    }
    if (!read_form(sign < 0 ? "-hh:mm" : "+hh:mm", &text, &offset) || text.len > 0 ||
        offset.tm_hour > 23 || offset.tm_min > 59) {
        return false;
    }
    *out_minutes = sign * (offset.tm_hour * 60 + offset.tm_min);
    return true;
}

bool gateway_date_iso_parse(struct bnd_slice text, uint64_t *out_ms) {
    struct tm tm = {0};
    unsigned ms = 0;
    int offset = 0;
    if (!read_form("YYYY-MM-DDThh:mm", &text, &tm)) {
        return false;
    }
    if (text.len > 0 && text.data[0] == ':' &&
        (!read_form(":ss", &text, &tm) || !read_fraction(&text, &ms))) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    if (!read_offset(text, &offset) || !in_range(&tm)) {
        return false;
    }
    int64_t seconds = (int64_t)timegm(&tm) - (int64_t)offset * 60;
    if (seconds < 0) {
        return false;
    }
    *out_ms = (uint64_t)seconds * 1000 + ms;
    return true;
}

bool gateway_date_parse(struct bnd_slice text, uint64_t *out_ms) {
    char line[48];
    char month[4] = "";
    struct tm tm = {0};
    int end = 0;
    int year = 0;
    if (text.len == 0 || text.len >= sizeof line) {
        return false;
    }
    memcpy(line, text.data, text.len);
    line[text.len] = 0;
    bool fixed = sscanf(line, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &tm.tm_mday,
                        month, &year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) == 6;
    if (!fixed || end != (int)text.len) {
        end = 0;
        if (sscanf(line, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &tm.tm_mday, month,
                   &year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) == 6) {
            year += year < 70 ? 2000 : 1900;
        } else {
            end = 0;
            (void)sscanf(line, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &tm.tm_mday,
                         &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &year, &end);
        }
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month_of(month);
    if (end != (int)text.len || !in_range(&tm)) {
        return false;
    }
    *out_ms = (uint64_t)timegm(&tm) * 1000;
    return true;
}
