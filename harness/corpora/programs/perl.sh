# packages: perl
# commands: perl
# status: 0
# Threads, forks, sorting, regular expressions, storage; perldoc's own modules compiled one by one.
perl -Mthreads -MStorable=dclone -MDigest::SHA=sha256_hex -MEncode -e '
    my $scale = shift;
    my %h = map { ($_ * 7919 % 100003 => [ $_, "x" x ($_ % 50) ]) } 1 .. 20000 * $scale;
    my $copy = dclone(\%h);
    print sha256_hex(join ",", map { "$_:$copy->{$_}[1]" } sort { $a <=> $b } keys %$copy), "\n";
    my @t = map { my $n = $_; threads->create(sub { my $s = 0; $s += length(join "", map { chr(65 + $_ % 26) } 1 .. $n * 1000) for 1 .. 5; $s }) } 1 .. 8;
    print join(" ", map { $_->join } @t), "\n";
    for my $i (1 .. 5) { my $pid = fork // die; if (!$pid) { my @x = map { [ $_ ] } 1 .. 10000; exit $i } waitpid $pid, 0; print $? >> 8, "\n" }
    my $text = "the quick brown fox " x 5000; my $n = () = $text =~ /(\w+) (?=\w*o\w*)/g; print "$n\n";
    print length(encode("UTF-8", "\x{263a}" x 100000)), "\n";
    eval { die { code => 5 } }; print $@->{code}, "\n"; exit 3' "$SCALE"
echo "status $?"
for module in CPAN Pod::Simple Test::More IO::Compress::Gzip Module::CoreList Unicode::UCD Math::BigFloat HTTP::Tiny; do
    perl -M$module -e 'print scalar(keys %INC) > 0 ? "ok\n" : "no\n"'
done
