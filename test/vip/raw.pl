# Raw IP packets for tests of virtual addresses, which Node cannot send. Usage:
#   perl raw.pl listen PROTOCOL         says "ready", then "SOURCE TEXT" of every packet of that IP protocol
#   perl raw.pl send PROTOCOL IP TEXT   sends one packet
#   perl raw.pl whole IP PORT BYTES     sends a UDP packet that may not be cut into fragments; says "sent" or why not
use strict;
use warnings;
use Socket;

$| = 1;
my ($what, @rest) = @ARGV;
if ($what eq 'listen') {
    socket(my $wire, AF_INET, SOCK_RAW, $rest[0]) or die "socket: $!";
    print "ready\n";
    while (defined(my $from = recv($wire, my $packet, 2000, 0))) {
        my $text = substr($packet, 4 * (ord($packet) & 15));
        $text =~ s/^\0\0\x88\xbe//;
        print inet_ntoa((sockaddr_in($from))[1]), " $text\n";
    }
} elsif ($what eq 'send') {
    socket(my $wire, AF_INET, SOCK_RAW, $rest[0]) or die "socket: $!";
    # GRE must look like GRE: version 0 and a protocol, or the kernel does not translate it.
    my $head = $rest[0] == 47 ? "\0\0\x88\xbe" : '';
    send($wire, $head . $rest[2], 0, sockaddr_in(0, inet_aton($rest[1]))) or die "send: $!";
} else {
    socket(my $wire, AF_INET, SOCK_DGRAM, 17) or die "socket: $!";
    # IP_MTU_DISCOVER, IP_PMTUDISC_DO.
    setsockopt($wire, 0, 10, pack('l', 2)) or die "option: $!";
    my $sent = send($wire, 'x' x $rest[2], 0, sockaddr_in($rest[1], inet_aton($rest[0])));
    print defined $sent ? "sent\n" : "$!\n";
}
