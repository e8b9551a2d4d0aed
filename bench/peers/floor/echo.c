// A plain TCP echo on epoll: what an echo costs at least. One thread; a read and a write for each event; level-triggered.
//
// It prints the address it listens at, and ends when its standard input does.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

// What a connection could not take yet. While there is any, the connection is not read.
struct backlog {
	char *data;
	size_t from, size;
};

enum { EVENTS = 512, BUFFER = 256 << 10 };

static char buffer[BUFFER];
static struct backlog *backlogs; // by descriptor
static rlim_t most = 4 << 20; // descriptors
static int epoll;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static int watch(int op, int fd, unsigned events) {
	struct epoll_event e = {.events = events, .data.fd = fd};
	return epoll_ctl(epoll, op, fd, &e);
}

static void end(int fd) {
	free(backlogs[fd].data);
	backlogs[fd] = (struct backlog){0};
	close(fd);
}

static void take(int listener) {
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno == EAGAIN)
				return;
			die("accept"); // out of descriptors, above all
		}
		int on = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if (fd >= (int)most || watch(EPOLL_CTL_ADD, fd, EPOLLIN) < 0)
			close(fd);
	}
}

static void readable(int fd) {
	ssize_t n = recv(fd, buffer, BUFFER, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(fd);
		return;
	}
	ssize_t sent = send(fd, buffer, n, MSG_NOSIGNAL);
	if (__builtin_expect(sent == n, 1))
		return;
	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR) {
			end(fd);
			return;
		}
		sent = 0;
	}
	struct backlog *b = &backlogs[fd];
	*b = (struct backlog){malloc(n - sent), 0, n - sent};
	if (!b->data)
		die("malloc");
	memcpy(b->data, buffer + sent, b->size);
	watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void writable(int fd) {
	struct backlog *b = &backlogs[fd];
	ssize_t sent = send(fd, b->data + b->from, b->size - b->from, MSG_NOSIGNAL);
	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR)
			end(fd);
		return;
	}
	b->from += sent;
	if (b->from < b->size)
		return;
	free(b->data);
	*b = (struct backlog){0};
	watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

int main(void) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < most)
		most = limit.rlim_max;
	backlogs = calloc(most, sizeof *backlogs); // pages that nobody touches cost nothing
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!backlogs || listener < 0 || epoll < 0 || bind(listener, (struct sockaddr *)&at, size) < 0 || listen(listener, 65535) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &size) < 0 || watch(EPOLL_CTL_ADD, listener, EPOLLIN) < 0 || watch(EPOLL_CTL_ADD, 0, EPOLLIN) < 0)
		die("listen");
	printf("127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	struct epoll_event events[EVENTS];
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == listener)
				take(listener);
			else if (fd == 0) {
				if (read(0, buffer, BUFFER) <= 0)
					return 0;
			} else if (backlogs[fd].data)
				writable(fd);
			else
				readable(fd);
		}
	}
}
