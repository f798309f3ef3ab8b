/* Carries a file to an address by the system call that its first argument names. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <liburing.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int dial(const char *host, const char *port)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *at;
	if (getaddrinfo(host, port, &want, &at))
		errx(1, "address");
	int s = socket(at->ai_family, SOCK_STREAM, 0);
	if (s < 0 || connect(s, at->ai_addr, at->ai_addrlen))
		err(1, "connect");
	return s;
}

static int opened(const char *path, size_t *size)
{
	struct stat st;
	int f = open(path, O_RDONLY);
	if (f < 0 || fstat(f, &st))
		err(1, "%s", path);
	*size = st.st_size;
	return f;
}

static void all(int s, const char *from, size_t n)
{
	while (n) {
		ssize_t done = send(s, from, n, 0);
		if (done <= 0)
			err(1, "send");
		from += done, n -= done;
	}
}

static void copy(int f, int s)
{
	char text[65536];
	for (ssize_t n; (n = read(f, text, sizeof text)) > 0;)
		all(s, text, n);
}

static int by_splice(int f, int s, size_t n)
{
	int p[2];
	if (pipe(p))
		err(1, "pipe");
	for (ssize_t in; (in = splice(f, NULL, p[1], NULL, n, 0)) > 0;)
		while (in > 0) {
			ssize_t out = splice(p[0], NULL, s, NULL, in, 0);
			if (out <= 0)
				err(1, "splice");
			in -= out;
		}
	return 0;
}

static int done(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	if (io_uring_submit_and_wait(ring, 1) < 0 || io_uring_wait_cqe(ring, &cqe) < 0 || cqe->res < 0)
		errx(1, "io_uring");
	int result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

/* Even the file is opened by the ring. */
static int by_uring(const char *path, int s)
{
	struct io_uring ring;
	char text[4096];
	if (io_uring_queue_init(4, &ring, 0))
		errx(1, "io_uring_queue_init");
	io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, path, O_RDONLY, 0);
	int f = done(&ring), n;
	for (long at = 0;; at += n) {
		io_uring_prep_read(io_uring_get_sqe(&ring), f, text, sizeof text, at);
		if (!(n = done(&ring)))
			return 0;
		io_uring_prep_send(io_uring_get_sqe(&ring), s, text, n, MSG_WAITALL);
		if (done(&ring) != n)
			errx(1, "short send");
	}
}

static int local(const char *path, int listens)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(at.sun_path, path, sizeof at.sun_path - 1);
	if (listens) {
		if (bind(s, (void *)&at, sizeof at) || listen(s, 1))
			err(1, "listen");
		return accept(s, NULL, NULL);
	}
	for (int tries = 0; connect(s, (void *)&at, sizeof at); tries++) {
		if (tries == 100)
			err(1, "connect");
		usleep(50000);
	}
	return s;
}

union room {
	char text[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static int pass(const char *path, const char *to)
{
	size_t size;
	union room room = { 0 };
	struct iovec one = { "x", 1 };
	struct msghdr m = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = room.text, .msg_controllen = sizeof room.text };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
	*(int *)CMSG_DATA(c) = opened(path, &size);
	return sendmsg(local(to, 0), &m, 0) == 1 ? 0 : 1;
}

static int taken(const char *from)
{
	char byte;
	union room room;
	struct iovec one = { &byte, 1 };
	struct msghdr m = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = room.text, .msg_controllen = sizeof room.text };
	if (recvmsg(local(from, 1), &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		errx(1, "no descriptor came");
	return *(int *)CMSG_DATA(CMSG_FIRSTHDR(&m));
}

int main(int argc, char **argv)
{
	size_t n;
	if (argc == 4 && !strcmp(argv[1], "pass"))
		return pass(argv[2], argv[3]);
	if (argc != 5)
		errx(2, "usage: carry HOW FILE ADDRESS PORT");
	if (!strcmp(argv[1], "take"))
		return copy(taken(argv[2]), dial(argv[3], argv[4])), 0;
	if (!strcmp(argv[1], "uring"))
		return by_uring(argv[2], dial(argv[3], argv[4]));
	int f = opened(argv[2], &n), s = dial(argv[3], argv[4]);
	if (!strcmp(argv[1], "mmap")) {
		char *text = mmap(NULL, n, PROT_READ, MAP_PRIVATE, f, 0);
		close(f);
		return text == MAP_FAILED ? 1 : (all(s, text, n), 0);
	}
	if (!strcmp(argv[1], "sendfile"))
		return sendfile(s, f, NULL, n) == (ssize_t)n ? 0 : 1;
	if (!strcmp(argv[1], "splice"))
		return by_splice(f, s, n);
	copy(f, s);
	return 0;
}
