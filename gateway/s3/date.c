/* HTTP dates and the ISO form of S3's XML, without locale or time zone. */
#include "gateway/s3/date.h"

#include <stdio.h>
#include <time.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Times past the year 9999 are no dates that S3 knows: they are shown as its last second. */
#define LAST_MS UINT64_C(253402300799999)

static struct tm split(uint64_t ms) {
    struct tm tm;
    time_t seconds = (time_t)((ms < LAST_MS ? ms : LAST_MS) / 1000);
    (void)gmtime_r(&seconds, &tm); /* cannot fail within four-digit years */
    return tm;
}

void s3_date_http(uint64_t ms, char out[S3_DATE_TEXT]) {
    struct tm tm = split(ms);
    (void)snprintf(out, S3_DATE_TEXT, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday],
                   (unsigned)tm.tm_mday % 100, months[tm.tm_mon],
                   (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
                   (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

void s3_date_iso(uint64_t ms, char out[S3_DATE_TEXT]) {
    struct tm tm = split(ms);
    (void)snprintf(out, S3_DATE_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
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

static bool in_range(const struct tm *tm) {
    return tm->tm_year >= 70 && tm->tm_mon >= 0 && tm->tm_mday >= 1 && tm->tm_mday <= 31 &&
           tm->tm_hour >= 0 && tm->tm_hour <= 23 && tm->tm_min >= 0 && tm->tm_min <= 59 &&
           tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

/* ".5", ".500000": *at moves behind it. */
static unsigned read_fraction_ms(const char *line, int *at) {
    unsigned ms = 0;
    int digits = 0;
    if (line[*at] != '.') {
        return 0;
    }
    (*at)++;
    for (; line[*at] >= '0' && line[*at] <= '9' && digits < 9; (*at)++, digits++) {
        ms = digits < 3 ? ms * 10 + (unsigned)(line[*at] - '0') : ms;
    }
    for (; digits > 0 && digits < 3; digits++) {
        ms *= 10;
    }
    return ms;
}

/* "Z" or "+02:00" to the end. False: neither. */
static bool read_offset(const char *text, int *out_minutes) {
    char sign[2] = "";
    int hours = 0;
    int minutes = 0;
    int end = 0;
    *out_minutes = 0;
    if (strcmp(text, "Z") == 0) {
        return true;
    }
    if (sscanf(text, "%1[+-]%2d:%2d%n", sign, &hours, &minutes, &end) != 3 || end != 6 ||
        strlen(text) != 6 || hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
        return false;
    }
    *out_minutes = (sign[0] == '-' ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

bool s3_date_iso_parse(struct bnd_slice text, uint64_t *out_ms) {
    char line[48];
    struct tm tm = {0};
    int at = 0;
    int year = 0;
    int offset = 0;
    if (text.len < 17 || text.len >= sizeof line) {
        return false;
    }
    memcpy(line, text.data, text.len);
    line[text.len] = 0;
    if (sscanf(line, "%4d-%2d-%2dT%2d:%2d%n", &year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &at) != 5 ||
        at != 16) {
        return false;
    }
    if (line[at] == ':') {
        int len = 0;
        if (sscanf(line + at, ":%2d%n", &tm.tm_sec, &len) != 1 || len != 3) {
            return false;
        }
        at += len;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon--;
    unsigned ms = read_fraction_ms(line, &at);
    if (!in_range(&tm) || tm.tm_mon > 11 || !read_offset(line + at, &offset)) {
        return false;
    }
    int64_t seconds = (int64_t)timegm(&tm) - (int64_t)offset * 60;
    if (seconds < 0) {
        return false;
    }
    *out_ms = (uint64_t)seconds * 1000 + ms;
    return true;
}

bool s3_date_parse(struct bnd_slice text, uint64_t *out_ms) {
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
