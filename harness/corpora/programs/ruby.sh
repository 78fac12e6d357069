# packages: ruby
# commands: ruby
# status: 6
# Garbage collection, threads, forks, Marshal, JSON.
ruby -rjson -rdigest -rset -e '
scale = ARGV[0].to_i
a = (1..30000 * scale).map { |i| { "n" => i, "s" => "x" * (i % 60), "l" => [i, i * 2] } }
puts Digest::SHA256.hexdigest(JSON.generate(a))
puts JSON.parse(JSON.generate(a)).size
puts Marshal.load(Marshal.dump(a)).last["s"].size
5.times { a = a.map(&:dup); GC.start }
GC.compact rescue nil
puts (1..8).map { |t| Thread.new { (1..20000).map { |i| (i * t).to_s }.to_set.size } }.map(&:value).sum
3.times { |i| pid = fork { GC.start; exit i + 4 }; Process.wait pid; puts $?.exitstatus }
puts `echo from a child`
begin; raise ArgumentError, "x" * 100; rescue => e; puts e.message.size; end
exit 6' "$SCALE"
