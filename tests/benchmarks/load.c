/* The load client of the benchmarks: one thread, epoll, loopback only.
 *
 *   load read    many readers of event streams; checks every id and text, measures producer -> reader
 *   load first   time to the first frame (or byte) of one request after another, in random order
 *   load append  posts JSON bodies, one in flight a connection, and times the acknowledgements
 *
 * A measured text is 30 bytes, `@F<7 digits: index>T<19 digits: CLOCK_MONOTONIC ns>@`. Results are JSON lines.
 * It ends early when its standard input is closed. See load.py for who starts it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    RECEIVE_BYTES = 1 << 18,
    LINE_BYTES = 4096,      /* a header block, or a line that arrives in pieces */
    REQUEST_BYTES = 4096,
    PATHS_MAX = 256,
    HEADERS_MAX = 16,
    CONNECTING_MAX = 64,    /* connections that wait for their response's head at once */
    STALLED_RECEIVE_BYTES = 4096,
    MARKER_BYTES = 30,
    ID_BYTES = 65,
    EVENTS_MAX = 512,
};

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "bad argument");
    exit(2);
}

/* ---- Durations: 128 buckets an octave, so that a quantile is right to 0.6 %. ---- */

enum { SUB_BITS = 7, BUCKETS = (64 - SUB_BITS + 1) << SUB_BITS };

typedef struct {
    uint64_t count[BUCKETS], total;
    int64_t max;
} Histogram;

static void histogram_add(Histogram *h, int64_t ns) {
    uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    int octave = v >> SUB_BITS ? 64 - SUB_BITS - __builtin_clzll(v) : 0;
    int shift = octave ? octave - 1 : 0;
    h->count[((size_t)octave << SUB_BITS) + ((v >> shift) & ((1 << SUB_BITS) - 1))]++;
    h->total++;
    if (ns > h->max) h->max = ns;
}

static double histogram_us(const Histogram *h, double quantile) {
    uint64_t rank = (uint64_t)(quantile * (double)(h->total ? h->total - 1 : 0)), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += h->count[i];
        if (seen > rank) {
            uint64_t octave = i >> SUB_BITS, low = i & ((1 << SUB_BITS) - 1);
            if (octave) low = (low | (1 << SUB_BITS)) << (octave - 1);
            return (double)low / 1e3;
        }
    }
    return -1;
}

/* ---- One response: head, chunked or counted body, and in it the lines of an event stream. ---- */

typedef enum { HEAD, BODY, ENDED } Phase;
typedef enum { SIZE, CONTENT, CONTENT_END } ChunkPhase;

typedef struct {
    Phase phase;
    ChunkPhase chunk_phase;
    int status;
    bool chunked, counted;
    int64_t left;              /* bytes of the chunk, or of the counted body */
    bool asked_to_reconnect;
    char line[LINE_BYTES];
    size_t line_used;
    char id[ID_BYTES];         /* the last one, to come back with */
    int64_t seq, frames, bytes, lost, duplicated, reordered; /* by the ids */
    int64_t texts, text_errors, controls, reconnects;        /* by the markers; other stream.* events */
    int64_t head_ns, first_ns, first_text_ns, last_text_ns, first_stamp_ns;
} Response;

static Histogram *latencies; /* producer -> reader, of all readers */
static void (*text_arrived)(int64_t index);

static void begin_again(Response *r) {
    memset(r, 0, offsetof(Response, line));
    r->line_used = 0;
}

static void reset(Response *r, int64_t after) {
    begin_again(r);
    memset(r->id, 0, sizeof *r - offsetof(Response, id));
    r->seq = after;
}

static int64_t digits(const char *p, int n) {
    int64_t value = 0;
    for (int i = 0; i < n; i++) value = value * 10 + (p[i] - '0');
    return value;
}

static void take_id(Response *r, const char *line, const char *end, int64_t now) {
    const char *p = end;
    while (p > line && p[-1] >= '0' && p[-1] <= '9') p--;
    int64_t seq = digits(p, (int)(end - p));
    if (!r->frames++) r->first_ns = now;
    if (end - line < ID_BYTES + 4) memcpy(r->id, line + 4, (size_t)(end - line) - 4), r->id[end - line - 4] = 0;
    if (seq == r->seq + 1 || r->seq < 0) r->seq = seq;
    else if (seq > r->seq) r->lost += seq - r->seq - 1, r->seq = seq;
    else if (seq == r->seq) r->duplicated++;
    else r->reordered++;
}

static void take_data(Response *r, const char *line, const char *end, int64_t now) {
    const char *p = memchr(line, '@', (size_t)(end - line));
    if (!p || end - p < MARKER_BYTES || p[1] != 'F' || p[9] != 'T' || p[29] != '@') return;
    int64_t index = digits(p + 2, 7), stamp = digits(p + 10, 19);
    if (index != r->texts) r->text_errors++;
    if (!r->texts++) r->first_text_ns = now, r->first_stamp_ns = stamp;
    r->last_text_ns = now;
    if (latencies) histogram_add(latencies, now - stamp);
    if (text_arrived) text_arrived(index);
}

static void take_control(Response *r, const char *line, const char *end) {
    if (end - line == 23 && !memcmp(line, "event: stream.reconnect", 23)) r->asked_to_reconnect = true;
    else r->controls++;
}

static void take_line(Response *r, const char *line, const char *end, int64_t now) {
    if (end - line < 4) return;
    if (line[0] == 'i' && line[1] == 'd' && line[2] == ':') take_id(r, line, end, now);
    else if (line[0] == 'd' && !memcmp(line, "data:", 5)) take_data(r, line, end, now);
    else if (line[0] == 'e' && end - line > 14 && !memcmp(line, "event: stream.", 14)) take_control(r, line, end);
}

static void keep(Response *r, const char *p, size_t n) {
    if (r->line_used + n > LINE_BYTES) errno = EMSGSIZE, die("line");
    memcpy(r->line + r->line_used, p, n);
    r->line_used += n;
}

static void take_content(Response *r, const char *p, size_t n, int64_t now) {
    const char *end = p + n;
    r->bytes += (int64_t)n;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline) {
            keep(r, p, (size_t)(end - p));
            return;
        }
        if (r->line_used) {
            keep(r, p, (size_t)(newline - p));
            take_line(r, r->line, r->line + r->line_used, now);
            r->line_used = 0;
        } else {
            take_line(r, p, newline, now);
        }
        p = newline + 1;
    }
}

/* Returns where the body begins in p, or NULL if the head is not complete. */
static const char *take_head(Response *r, const char *p, size_t n, int64_t now) {
    size_t before = r->line_used, room = LINE_BYTES - 1 - before, take = n < room ? n : room;
    keep(r, p, take);
    r->line[r->line_used] = 0;
    char *end = strstr(r->line, "\r\n\r\n");
    if (!end) return NULL;
    r->head_ns = now;
    r->status = atoi(r->line + 9);
    *end = 0;
    char *length = strcasestr(r->line, "\r\ncontent-length:");
    r->chunked = strcasestr(r->line, "\r\ntransfer-encoding: chunked") != NULL;
    r->counted = length != NULL || r->status == 204;
    r->left = length ? atoll(length + 17) : 0;
    r->phase = BODY;
    r->line_used = 0;
    return p + (end + 4 - r->line) - before;
}

static void take_chunks(Response *r, const char *p, const char *end, int64_t now) {
    while (p < end && r->phase == BODY) {
        if (r->chunk_phase == SIZE) {
            char c = *p++;
            if (c == '\n') {
                if (r->left == 0) r->phase = ENDED;
                r->chunk_phase = CONTENT;
            } else if (c != '\r') {
                r->left = r->left * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
            }
        } else if (r->chunk_phase == CONTENT) {
            int64_t n = end - p < r->left ? end - p : r->left;
            take_content(r, p, (size_t)n, now);
            p += n;
            r->left -= n;
            if (r->left == 0) r->chunk_phase = CONTENT_END;
        } else if (*p++ == '\n') {
            r->chunk_phase = SIZE;
        }
    }
}

static void feed(Response *r, const char *p, size_t n, int64_t now) {
    const char *end = p + n;
    if (r->phase == HEAD && !(p = take_head(r, p, n, now))) return;
    if (r->chunked) {
        take_chunks(r, p, end, now);
    } else {
        take_content(r, p, (size_t)(end - p), now);
        r->left -= end - p;
        if (r->counted && r->left <= 0) r->phase = ENDED;
    }
}

/* ---- Connections. ---- */

static int port;
static const char *headers[HEADERS_MAX];
static int header_count;

static int dial(int receive_bytes) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) die("socket");
    if (receive_bytes) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
    return fd;
}

static void request(int fd, const char *method, const char *path, const char *header, const char *body) {
    static char buffer[REQUEST_BYTES * 4];
    int n = snprintf(buffer, sizeof buffer, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", method, path, port);
    for (int i = 0; i < header_count; i++) n += snprintf(buffer + n, sizeof buffer - n, "%s\r\n", headers[i]);
    if (header) n += snprintf(buffer + n, sizeof buffer - n, "%s\r\n", header);
    if (body)
        n += snprintf(buffer + n, sizeof buffer - n, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                      strlen(body), body);
    else
        n += snprintf(buffer + n, sizeof buffer - n, "\r\n");
    if (n >= (int)sizeof buffer) errno = EMSGSIZE, die("request");
    if (write(fd, buffer, (size_t)n) != n) die("write");
}

static void watch(int poller, int fd, uint64_t key) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = key};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static const uint64_t STDIN_KEY = UINT64_MAX;
static char *received;

/* ---- read ---- */

static const char *paths[PATHS_MAX];
static int path_count, readers = 1, stalled, quorum;
static int64_t after, expected_texts = -1;
static double limit_s = 60;
static const char *gate;

typedef struct {
    int fd;
    bool done, failed;
    Response response;
} Reader;

static struct {
    int socket;
    struct sockaddr_un to;
    int64_t step, arrived;
} lockstep;

/* The producer is let go on with the next text when so many readers have this one. */
static void step_when_enough_have_it(int64_t index) {
    if (index != lockstep.step || ++lockstep.arrived < quorum) return;
    lockstep.step++;
    lockstep.arrived = 0;
    if (lockstep.step < expected_texts || expected_texts < 0)
        sendto(lockstep.socket, "1", 1, 0, (struct sockaddr *)&lockstep.to, sizeof lockstep.to);
}

static void open_lockstep(void) {
    lockstep.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    lockstep.to.sun_family = AF_UNIX;
    if (strlen(gate) >= sizeof lockstep.to.sun_path) errno = ENAMETOOLONG, die("gate");
    strcpy(lockstep.to.sun_path, gate);
    text_arrived = step_when_enough_have_it;
    if (!quorum) quorum = readers - stalled;
}

static void attach(int poller, Reader *reader, int index, const char *header) {
    reader->fd = dial(index < stalled ? STALLED_RECEIVE_BYTES : 0);
    request(reader->fd, "GET", paths[index % path_count], header, NULL);
    fcntl(reader->fd, F_SETFL, O_NONBLOCK);
    watch(poller, reader->fd, (uint64_t)index);
}

/* What a client does when only the connection is over: the same GET with the last id. */
static void come_back(int poller, Reader *reader, int index) {
    char header[ID_BYTES + 16];
    close(reader->fd);
    begin_again(&reader->response);
    reader->response.reconnects++;
    snprintf(header, sizeof header, "Last-Event-ID: %s", reader->response.id);
    attach(poller, reader, index, header);
}

/* Returns whether the stream has ended. */
static bool receive(int poller, Reader *reader, int index) {
    Response *r = &reader->response;
    ssize_t n = recv(reader->fd, received, RECEIVE_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n > 0) feed(r, received, (size_t)n, now_ns());
    if (n > 0 && r->phase != ENDED) return false;
    if (r->asked_to_reconnect) return come_back(poller, reader, index), false;
    reader->failed = r->phase != ENDED;
    reader->done = true;
    close(reader->fd);
    return true;
}

static void report_readers(const Reader *all, double ready_s, double busy, bool stopped) {
    Response sum = {.first_stamp_ns = INT64_MAX};
    int failed = 0, unfinished = 0, incomplete = 0, refused = 0;
    for (int i = stalled; i < readers; i++) {
        const Response *r = &all[i].response;
        sum.frames += r->frames, sum.bytes += r->bytes, sum.texts += r->texts, sum.text_errors += r->text_errors;
        sum.lost += r->lost, sum.duplicated += r->duplicated, sum.reordered += r->reordered;
        sum.controls += r->controls, sum.reconnects += r->reconnects;
        failed += all[i].failed, unfinished += !all[i].done, refused += r->status && r->status != 200 && r->status != 204;
        incomplete += expected_texts >= 0 && r->texts != expected_texts;
        if (r->texts && r->first_stamp_ns < sum.first_stamp_ns) sum.first_stamp_ns = r->first_stamp_ns;
        if (r->last_text_ns > sum.last_text_ns) sum.last_text_ns = r->last_text_ns;
    }
    printf("{\"event\":\"done\",\"readers\":%d,\"ready_s\":%.4f,\"frames\":%ld,\"texts\":%ld,\"payload_bytes\":%ld,"
           "\"lost\":%ld,\"duplicated\":%ld,\"reordered\":%ld,\"text_errors\":%ld,\"controls\":%ld,\"reconnects\":%ld,"
           "\"failed\":%d,\"unfinished\":%d,\"refused\":%d,\"incomplete\":%d,\"stopped\":%s,\"span_s\":%.6f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"busy\":%.3f}\n",
           readers - stalled, ready_s, sum.frames, sum.texts, sum.bytes, sum.lost, sum.duplicated, sum.reordered,
           sum.text_errors, sum.controls, sum.reconnects, failed, unfinished, refused, incomplete, stopped ? "true" : "false",
           sum.texts ? (double)(sum.last_text_ns - sum.first_stamp_ns) / 1e9 : 0, histogram_us(latencies, .5),
           histogram_us(latencies, .99), (double)latencies->max / 1e3, busy);
}

static int read_streams(void) {
    Reader *all = calloc((size_t)readers, sizeof *all);
    struct epoll_event events[EVENTS_MAX];
    int poller = epoll_create1(EPOLL_CLOEXEC), opened = 0, connecting = 0, ready = 0, done = 0;
    int64_t start = now_ns(), deadline = start + (int64_t)(limit_s * 1e9), span_from = 0, cpu_from = 0;
    double ready_s = -1, busy = 0;
    bool stopped = false;
    latencies = calloc(1, sizeof *latencies);
    if (gate) open_lockstep();
    watch(poller, STDIN_FILENO, STDIN_KEY);
    while (!stopped && (done < readers - stalled || readers == stalled)) { /* nothing but stalled ones: until told */
        for (; opened < readers && connecting < CONNECTING_MAX; opened++, connecting++) {
            reset(&all[opened].response, after);
            attach(poller, &all[opened], opened, NULL);
        }
        int64_t now = now_ns();
        if (now >= deadline) break;
        int n = epoll_wait(poller, events, EVENTS_MAX, (int)((deadline - now) / 1000000) + 1);
        int64_t texts_before = (int64_t)latencies->total;
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == STDIN_KEY) {
                stopped = true;
                continue;
            }
            Reader *reader = &all[events[i].data.u64];
            if (reader->done) continue;
            bool had_head = reader->response.head_ns;
            if (receive(poller, reader, (int)events[i].data.u64)) done++;
            if (!had_head && reader->response.head_ns) {
                connecting--;
                if (++ready == readers) {
                    ready_s = (double)(now_ns() - start) / 1e9;
                    printf("{\"event\":\"ready\"}\n");
                    fflush(stdout);
                }
                if (events[i].data.u64 < (uint64_t)stalled) epoll_ctl(poller, EPOLL_CTL_DEL, reader->fd, NULL);
            }
        }
        if ((int64_t)latencies->total > texts_before) { /* busy: the share of a core from the first text to the last */
            if (!span_from) span_from = now, cpu_from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
            else busy = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_from) / (double)(now_ns() - span_from);
        }
    }
    report_readers(all, ready_s, busy, stopped);
    return 0;
}

/* ---- first ---- */

typedef struct {
    const char *name, *path, *header;
    bool keep_alive;
    int64_t frames, after; /* frames to read before leaving: 0 none, the body is counted; -1 all of them */
    int fd;
    Histogram first, last;
    int64_t received, errors;
} Request;

enum { REQUESTS_MAX = 32 };
static Request *requests[REQUESTS_MAX];
static int request_count;
static int64_t count = 1000, gap_us = 300;

static void measure(Request *r) {
    static Response response;
    int64_t start = now_ns(), first = 0;
    if (r->fd < 0) r->fd = dial(0);
    reset(&response, r->after);
    request(r->fd, "GET", r->path, r->header, NULL);
    while (response.phase != ENDED && (r->frames <= 0 || response.frames < r->frames)) {
        ssize_t n = recv(r->fd, received, RECEIVE_BYTES, 0);
        int64_t now = now_ns();
        if (n <= 0) break;
        feed(&response, received, (size_t)n, now);
        if (!first && (r->frames == 0 || response.frames)) first = now;
    }
    int64_t end = now_ns();
    bool complete = r->frames > 0 ? response.frames >= r->frames : response.phase == ENDED;
    if (response.status != 200 || !complete || response.lost || response.duplicated || response.reordered) r->errors++;
    histogram_add(&r->first, first - start);
    histogram_add(&r->last, end - start);
    r->received += response.frames;
    if (!r->keep_alive) close(r->fd), r->fd = -1;
}

static int time_first(void) {
    uint64_t random = 88172645463325252ULL;
    int order[REQUESTS_MAX];
    for (int64_t round = 0; round < count; round++) {
        for (int i = 0; i < request_count; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            int j = (int)(random % (uint64_t)(i + 1));
            order[i] = order[j];
            order[j] = i;
        }
        for (int i = 0; i < request_count; i++) {
            measure(requests[order[i]]);
            usleep((useconds_t)gap_us); /* so that the server's farewell to this request does not delay the next */
        }
    }
    for (int i = 0; i < request_count; i++) {
        Request *r = requests[i];
        printf("{\"event\":\"request\",\"name\":\"%s\",\"first_p50_us\":%.1f,\"first_p99_us\":%.1f,"
               "\"last_p50_us\":%.1f,\"frames\":%ld,\"errors\":%ld}\n",
               r->name, histogram_us(&r->first, .5), histogram_us(&r->first, .99), histogram_us(&r->last, .5),
               r->received, r->errors);
    }
    return 0;
}

/* ---- append ---- */

static const char *body_template;

typedef struct {
    int fd;
    int64_t posted, sent_ns;
    Response response;
} Poster;

/* `%S` becomes the frame's seq, `%T` a measured text. */
static const char *compose(int64_t seq, int64_t index) {
    static char body[REQUEST_BYTES];
    char *out = body;
    for (const char *p = body_template; *p && out < body + sizeof body - 64; p++) {
        if (p[0] == '%' && p[1] == 'S') out += sprintf(out, "%ld", seq), p++;
        else if (p[0] == '%' && p[1] == 'T') out += sprintf(out, "@F%07ldT%019ld@", index, now_ns()), p++;
        else *out++ = *p;
    }
    *out = 0;
    return body;
}

static void post(Poster *poster, int path) {
    reset(&poster->response, -1);
    const char *body = compose(after + 1 + poster->posted, poster->posted);
    poster->sent_ns = now_ns();
    request(poster->fd, "POST", paths[path], NULL, body);
}

static int post_appends(void) {
    Poster *all = calloc((size_t)path_count, sizeof *all);
    struct epoll_event events[EVENTS_MAX];
    int poller = epoll_create1(EPOLL_CLOEXEC), done = 0;
    int64_t acknowledged = 0, errors = 0, start = now_ns(), deadline = start + (int64_t)(limit_s * 1e9);
    bool stopped = false;
    latencies = calloc(1, sizeof *latencies);
    watch(poller, STDIN_FILENO, STDIN_KEY);
    for (int i = 0; i < path_count; i++) {
        all[i].fd = dial(0);
        watch(poller, all[i].fd, (uint64_t)i);
        post(&all[i], i);
    }
    while (!stopped && done < path_count && now_ns() < deadline) {
        int n = epoll_wait(poller, events, EVENTS_MAX, 1000);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == STDIN_KEY) {
                stopped = true;
                continue;
            }
            Poster *poster = &all[events[i].data.u64];
            ssize_t got = recv(poster->fd, received, RECEIVE_BYTES, 0);
            int64_t now = now_ns();
            if (got > 0) feed(&poster->response, received, (size_t)got, now);
            bool bad = got <= 0 || (poster->response.status && poster->response.status / 100 != 2);
            if (bad && !errors++) fprintf(stderr, "load: %.*s\n", got > 0 ? (int)got : 0, received);
            if (!bad && poster->response.phase != ENDED) continue;
            if (!bad) histogram_add(latencies, now - poster->sent_ns), acknowledged++;
            if (bad || ++poster->posted == count) done++, close(poster->fd);
            else post(poster, (int)events[i].data.u64);
        }
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    printf("{\"event\":\"done\",\"acknowledged\":%ld,\"errors\":%ld,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"max_us\":%.1f}\n",
           acknowledged, errors, seconds, histogram_us(latencies, .5), histogram_us(latencies, .99),
           (double)latencies->max / 1e3);
    return 0;
}

/* ---- Command line. ---- */

static void add_request(const char *kind) {
    if (request_count == REQUESTS_MAX) errno = E2BIG, die("--request");
    Request *r = requests[request_count++] = calloc(1, sizeof *r);
    *r = (Request){.keep_alive = !strcmp(kind, "keep-alive"), .fd = -1, .after = -1};
}

static Request *last_request(void) {
    if (!request_count) errno = 0, die("--name, --frames before --request");
    return requests[request_count - 1];
}

static void parse(int argc, char **argv) {
    static const struct option options[] = {
        {"port", 1, 0, 'p'},    {"path", 1, 0, 'u'},    {"header", 1, 0, 'H'}, {"readers", 1, 0, 'r'},
        {"texts", 1, 0, 't'},   {"after", 1, 0, 'a'},   {"gate", 1, 0, 'g'},   {"stalled", 1, 0, 's'},
        {"limit-s", 1, 0, 'l'}, {"count", 1, 0, 'c'},   {"body", 1, 0, 'b'},   {"request", 1, 0, 'R'},
        {"name", 1, 0, 'n'},    {"frames", 1, 0, 'f'},  {"quorum", 1, 0, 'q'}, {0, 0, 0, 0},
    };
    bool first = !strcmp(argv[1], "first");
    optind = 2;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'u':
            if (first) last_request()->path = optarg;
            else if (path_count < PATHS_MAX) paths[path_count++] = optarg;
            break;
        case 'H':
            if (first) last_request()->header = optarg;
            else if (header_count < HEADERS_MAX) headers[header_count++] = optarg;
            break;
        case 'r': readers = atoi(optarg); break;
        case 't': expected_texts = atoll(optarg); break;
        case 'a': *(first ? &last_request()->after : &after) = atoll(optarg); break;
        case 'g': gate = optarg; break;
        case 'q': quorum = atoi(optarg); break;
        case 's': stalled = atoi(optarg); break;
        case 'l': limit_s = atof(optarg); break;
        case 'c': count = atoll(optarg); break;
        case 'b': body_template = optarg; break;
        case 'R': add_request(optarg); break;
        case 'n': last_request()->name = optarg; break;
        case 'f': last_request()->frames = atoll(optarg); break;
        default: exit(2);
        }
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: load read|first|append --port N ...\n"), 2;
    parse(argc, argv);
    received = malloc(RECEIVE_BYTES);
    if (!strcmp(argv[1], "read")) return read_streams();
    if (!strcmp(argv[1], "first")) return time_first();
    if (!strcmp(argv[1], "append")) return post_appends();
    return 2;
}
