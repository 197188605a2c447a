// galaxy-sdn as a program of the host that starts in a millisecond: what src/bin/galaxy-plugins/call-daemon.ts does, and nothing else. It has no
// logic of its own: six variables and standard input go to the daemon's socket, the answer goes to standard output. The same tests run both.

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static const char about[] =
    "Usage: galaxy-sdn is a CNI plugin: a container runtime calls it with CNI_COMMAND, and it asks the daemon galaxy.\n";
static const char *const carried[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS",
                                      "CNI_IFNAME",  "CNI_ARGS",        "CNI_PATH"};
// Longer than the daemon needs for its own limits; the runtime's limit is about as long.
static const int limit_s = 240;

// Bytes that grow; without memory there is nothing left to say.
struct bytes {
  char *at;
  size_t size, room;
};

static void add(struct bytes *to, const void *from, size_t size) {
  if (to->size + size + 1 > to->room) {
    to->room = (to->size + size + 1) * 2;
    to->at = realloc(to->at, to->room);
    if (to->at == NULL) abort();
  }
  memcpy(to->at + to->size, from, size);
  to->size += size;
  to->at[to->size] = '\0';
}

static void add_text(struct bytes *to, const char *text) { add(to, text, strlen(text)); }

static void add_json(struct bytes *to, const char *text) {
  add_text(to, "\"");
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
      add_text(to, "\\");
      add(to, text, 1);
    } else if (c < 0x20) {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", c);
      add_text(to, escaped);
    } else {
      add(to, text, 1);
    }
  }
  add_text(to, "\"");
}

static void add_base64(struct bytes *to, const struct bytes *from) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < from->size; i += 3) {
    unsigned long three = 0;
    size_t count = from->size - i < 3 ? from->size - i : 3;
    for (size_t j = 0; j < 3; j++) {
      three = three << 8 | (j < count ? (unsigned char)from->at[i + j] : 0);
    }
    char four[4] = {digits[three >> 18 & 63], digits[three >> 12 & 63],
                    count > 1 ? digits[three >> 6 & 63] : '=',
                    count > 2 ? digits[three & 63] : '='};
    add(to, four, 4);
  }
}

// All that comes until the end. 0, or the reason in errno.
static int read_all(int file, struct bytes *into) {
  char part[65536];
  for (;;) {
    ssize_t size = read(file, part, sizeof part);
    if (size == 0) return 0;
    if (size > 0) add(into, part, (size_t)size);
    else if (errno != EINTR) return -1;
  }
}

static int write_all(int file, const char *from, size_t size) {
  while (size > 0) {
    ssize_t written = write(file, from, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return -1;
    from += written;
    size -= (size_t)written;
  }
  return 0;
}

// Calls the daemon. The answer's status and text, or -1 and the reason in errno.
static int ask(const char *path, const struct bytes *body, struct bytes *answer) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = {.tv_sec = limit_s};
  if (file < 0 || setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
      connect(file, (struct sockaddr *)&address, sizeof address) != 0) {
    return -1;
  }
  // HTTP/1.0, so that the answer ends with the connection.
  char head[160];
  int size = snprintf(head, sizeof head,
                      "POST /cni HTTP/1.0\r\nHost: galaxy\r\nContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\n\r\n",
                      body->size);
  struct bytes call = {0};
  add(&call, head, (size_t)size);
  add(&call, body->at, body->size);
  // A daemon that wants no more of it has answered.
  int sent = write_all(file, call.at, call.size);
  struct bytes whole = {0};
  if (read_all(file, &whole) != 0 && whole.size == 0) {
    if (errno == EAGAIN) errno = ETIMEDOUT;
    return -1;
  }
  int status = 0;
  char *text = whole.size == 0 ? NULL : strstr(whole.at, "\r\n\r\n");
  if (text == NULL || sscanf(whole.at, "HTTP/%*d.%*d %d", &status) != 1) {
    if (sent == 0 || whole.size > 0) errno = EPROTO;
    return -1;
  }
  text += 4;
  add(answer, text, whole.size - (size_t)(text - whole.at));
  return status;
}

// The version that the configuration names, for the error that says that nobody could read it properly; "" when there is none.
static const char *version_of(const struct bytes *config) {
  static char version[33];
  const char *at = config->size == 0 ? NULL : strstr(config->at, "\"cniVersion\"");
  if (at == NULL) return "";
  at += strlen("\"cniVersion\"");
  at += strspn(at, " \t\r\n");
  if (*at++ != ':') return "";
  at += strspn(at, " \t\r\n");
  if (*at++ != '"') return "";
  size_t size = strspn(at, "0123456789.abcdefghijklmnopqrstuvwxyz-");
  if (size == 0 || size >= sizeof version || at[size] != '"') return "";
  memcpy(version, at, size);
  return version;
}

static const char *variable(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value == NULL ? otherwise : value;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && strcmp(argv[1], "--help") == 0) {
    return write_all(1, about, strlen(about)) == 0 ? 0 : 1;
  }
  const char *command = variable("CNI_COMMAND", "");
  if (*command == '\0') return write_all(2, about, strlen(about)) == 0 ? 0 : 1;
  const char *path = variable("GALAXY_SOCKET", "/var/run/galaxy/galaxy.sock");
  struct bytes config = {0}, body = {0}, answer = {0};
  // Without standard input the configuration is empty, and the daemon says so.
  (void)read_all(0, &config);
  add_text(&body, "{\"env\":{");
  for (size_t i = 0; i < sizeof carried / sizeof *carried; i++) {
    if (i > 0) add_text(&body, ",");
    add_json(&body, carried[i]);
    add_text(&body, ":");
    add_json(&body, variable(carried[i], ""));
  }
  add_text(&body, "},\"config\":\"");
  add_base64(&body, &config);
  add_text(&body, "\"}");
  int status = ask(path, &body, &answer);
  if (status < 0) {
    const char *because = strerror(errno);
    struct bytes message = {0};
    add_text(&message, "the daemon galaxy does not answer on ");
    add_text(&message, path);
    add_text(&message, " (");
    add_text(&message, because);
    add_text(&message, "); look at its DaemonSet on this node");
    add_text(&answer, "{");
    if (*version_of(&config) != '\0') {
      add_text(&answer, "\"cniVersion\":");
      add_json(&answer, version_of(&config));
      add_text(&answer, ",");
    }
    // 50 answers STATUS, 11 asks the runtime to try again; both as the specification has them.
    add_text(&answer, strcmp(command, "STATUS") == 0 ? "\"code\":50,\"msg\":" : "\"code\":11,\"msg\":");
    add_json(&answer, message.at);
    add_text(&answer, "}");
  }
  if (answer.size > 0) {
    add_text(&answer, "\n");
    if (write_all(1, answer.at, answer.size) != 0) return 1;
  }
  return status == 200 ? 0 : 1;
}
