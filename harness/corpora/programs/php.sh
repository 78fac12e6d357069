# packages: php-cli
# commands: php
# status: 9
# Arrays, cycles for the collector, serialization, expressions, a generator.
cat >main.php <<'END'
<?php
$scale = (int)$argv[1];
$a = [];
for ($i = 0; $i < 100000 * $scale; $i++) $a["k" . ($i * 7919 % 1000003)] = ["n" => $i, "s" => str_repeat("x", $i % 40)];
ksort($a); echo hash("sha256", json_encode($a)), "\n", count(unserialize(serialize($a))), "\n";
for ($i = 0; $i < 50000; $i++) { $x = new stdClass; $x->self = $x; } echo gc_collect_cycles() >= 0 ? "collected\n" : "no\n";
function g($n) { for ($i = 0; $i < $n; $i++) yield $i => str_pad($i, 9); } $s = 0; foreach (g(50000) as $k => $v) $s += strlen($v) + $k; echo $s, "\n";
echo preg_match_all('/\d+x/', str_repeat("12x 3 45x ", 20000)), "\n", shell_exec("echo from a child");
exit(9);
END
php main.php "$SCALE"
USE_ZEND_ALLOC=0 php main.php 1
