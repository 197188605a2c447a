# Watches one interface for every ARP packet and neighbour advertisement that claims an address, and asks for addresses the way a neighbour
# does. It is Perl because Node has no raw sockets and every Debian has Perl. Usage: perl frames.pl INTERFACE; commands on stdin, one a line:
#   ask IP EVERY_MS    asks for the address from now on
#   quiet IP           asks no more
# Every line on stdout is JSON. Each request has a sender MAC of its own, so that an answer tells exactly which request it answers.
use strict;
use warnings;
use Socket qw(inet_pton inet_ntop AF_INET AF_INET6);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($iface) = @ARGV;
$| = 1;
# Not /sys, which may be of another network namespace.
my ($line) = grep { /^\d+: \Q${iface}\E(?:@|:)/ } `ip -o link show dev $iface`;
my ($index) = ($line // '') =~ /^(\d+):/ or die "no interface $iface";
use constant { PF_PACKET => 17, SOCK_RAW => 3, ETH_P_ALL => 3, SOL_PACKET => 263 };
socket(my $wire, PF_PACKET, SOCK_RAW, unpack('S', pack('n', ETH_P_ALL))) or die "socket: $!";
bind($wire, pack('SnLSCCx8', PF_PACKET, ETH_P_ALL, $index, 0, 0, 0)) or die "bind: $!";
# PACKET_ADD_MEMBERSHIP with PACKET_MR_PROMISC: answers to the made-up senders are for us too.
setsockopt($wire, SOL_PACKET, 1, pack('lSSx8', $index, 1, 0)) or die "promiscuous: $!";
# SO_RCVBUFFORCE: a node that takes a thousand addresses over tells of all of them at once.
setsockopt($wire, 1, 33, pack('l', 32_000_000));

my ($asks, $count, $input) = ({}, 0, '');
sub now { clock_gettime(CLOCK_MONOTONIC) * 1000 }
sub mac { join ':', map { sprintf '%02x', ord } split //, $_[0] }
sub checksum {
    my ($data) = @_;
    $data .= "\0" if length($data) % 2;
    my $sum = 0;
    $sum += $_ for unpack 'n*', $data;
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return ~$sum & 0xffff;
}

sub ask {
    my ($ip) = @_;
    $count += 1;
    my $sender = pack('CCN', 0x06, 0x47, $count);
    my $frame;
    if ($ip =~ /:/) {
        my $target = inet_pton(AF_INET6, $ip);
        my $from = inet_pton(AF_INET6, $ip =~ /^(.*:)[^:]*$/ ? "${1}fa" : die);
        my $group = inet_pton(AF_INET6, 'ff02::1:ff00:0');
        substr($group, 13, 3) = substr($target, 13, 3);
        my $body = pack('CCnN', 135, 0, 0, 0) . $target . pack('CC', 1, 1) . $sender;
        my $sum = checksum($from . $group . pack('NN', length $body, 58) . $body);
        substr($body, 2, 2) = pack('n', $sum);
        my $head = pack('NnCC', 0x60000000, length $body, 58, 255) . $from . $group;
        $frame = "\x33\x33" . substr($group, 12, 4) . $sender . pack('n', 0x86dd) . $head . $body;
    } else {
        my $target = inet_pton(AF_INET, $ip);
        my $from = substr($target, 0, 3) . chr(250);
        my $body = pack('nnCCn', 1, 0x0800, 6, 4, 1) . $sender . $from . "\0" x 6 . $target;
        $frame = "\xff" x 6 . $sender . pack('n', 0x0806) . $body . "\0" x 18;
    }
    print qq({"kind":"asked","ms":@{[now()]},"ip":"$ip","request":$count}\n);
    send($wire, $frame, 0) or print qq({"kind":"unsent","ms":@{[now()]},"ip":"$ip"}\n);
}

sub seen {
    my ($frame) = @_;
    my $ms = now();
    my ($to, $from, $type) = (substr($frame, 0, 6), substr($frame, 6, 6), unpack 'x12n', $frame);
    my $tell = sub {
        my ($what, $ip, $owner, $asker, $flags) = @_;
        # 0x06 0x47: one of our own requests, or an answer to one.
        return if substr($owner, 0, 2) eq "\x06\x47";
        my $request = substr($asker, 0, 2) eq "\x06\x47" ? unpack('x2N', $asker) : 0;
        my @said = (qq("kind":"$what"), qq("ms":$ms), qq("ip":"$ip"), qq("mac":") . mac($owner) . '"');
        push @said, qq("frameMac":") . mac($from) . '"', qq("request":$request);
        push @said, qq("isOverride":$flags) if defined $flags;
        print '{' . join(',', @said) . "}\n";
    };
    if ($type == 0x0806 && length $frame >= 42) {
        my ($op, $owner, $ip, $asker, $target) = unpack 'x20 n a6 a4 a6 a4', $frame;
        return if $ip eq "\0" x 4;
        my $text = inet_ntop(AF_INET, $ip);
        if ($op == 2) { $tell->($ip eq $target ? 'gratuitous' : 'answer', $text, $owner, $asker) }
        # A request names its sender too: with its own address as target it is an announcement, otherwise a neighbour that asks.
        elsif ($ip eq $target) { $tell->('gratuitous', $text, $owner, "\0" x 6) }
        else { $tell->('sender', $text, $owner, "\0" x 6) }
    } elsif ($type == 0x86dd && length $frame >= 78 && ord(substr $frame, 20, 1) == 58 && ord(substr $frame, 54, 1) == 136) {
        my ($flags, $ip) = unpack 'x58 C x3 a16', $frame;
        my $options = substr $frame, 78;
        my $owner = length $options >= 8 && ord($options) == 2 ? substr($options, 2, 6) : $from;
        my $what = $flags & 0x40 ? 'answer' : 'gratuitous';
        $tell->($what, inet_ntop(AF_INET6, $ip), $owner, $to, $flags & 0x20 ? 'true' : 'false');
    }
}

sub command {
    my ($what, $ip, $every) = split ' ', $_[0];
    if ($what eq 'ask') { $asks->{$ip} = { every => $every, next => now() } }
    elsif ($what eq 'quiet') { delete $asks->{$ip}; print qq({"kind":"quiet","ms":@{[now()]},"ip":"$ip"}\n) }
}

print qq({"kind":"ready","ms":@{[now()]}}\n);
my $bits = '';
vec($bits, fileno($wire), 1) = 1;
vec($bits, fileno(STDIN), 1) = 1;
while (1) {
    my $wait = 1000;
    for my $ip (keys %$asks) {
        my $ask = $asks->{$ip};
        if (now() >= $ask->{next}) {
            ask($ip);
            # No burst after this process stood still.
            $ask->{next} = $ask->{next} + $ask->{every} > now() ? $ask->{next} + $ask->{every} : now() + $ask->{every};
        }
        my $left = $ask->{next} - now();
        $wait = $left if $left < $wait;
    }
    my $readable = $bits;
    next if select($readable, undef, undef, $wait < 0 ? 0 : $wait / 1000) <= 0;
    if (vec($readable, fileno($wire), 1)) {
        # Everything that waits, so that a burst is not lost.
        while (defined recv($wire, my $frame, 2000, 0x40)) { seen($frame) if length $frame }
    }
    if (vec($readable, fileno(STDIN), 1)) {
        sysread(STDIN, $input, 4096, length $input) or exit 0;
        command($1) while $input =~ s/^(.*)\n//;
    }
}
