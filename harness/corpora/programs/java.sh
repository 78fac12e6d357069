# packages: default-jdk-headless
# commands: java javac
# status: 0
# The compiler and the program it makes: threads, direct buffers, deflation, two collectors.
cat >Main.java <<'END'
import java.util.*; import java.util.stream.*; import java.nio.*; import java.util.zip.*;
public class Main {
    public static void main(String[] a) throws Exception {
        int scale = Integer.parseInt(a[0]);
        Map<Integer, String> m = new TreeMap<>();
        for (int i = 0; i < 50000 * scale; i++) m.put(i * 7919 % 1000003, "x".repeat(i % 30));
        System.out.println(m.hashCode());
        System.out.println(IntStream.range(0, 8).parallel().mapToLong(t -> IntStream.range(0, 100000).mapToObj(i -> "" + i * t).collect(Collectors.toSet()).size()).sum());
        long sum = 0;
        for (int i = 0; i < 200; i++) { ByteBuffer b = ByteBuffer.allocateDirect(100000); b.putInt(0, i); sum += b.getInt(0); }
        System.out.println(sum);
        Deflater d = new Deflater(); d.setInput(m.toString().getBytes()); d.finish(); byte[] out = new byte[1 << 24]; System.out.println(d.deflate(out)); d.end();
        Thread[] t = new Thread[50]; for (int i = 0; i < 50; i++) { t[i] = new Thread(() -> new ArrayList<>(Collections.nCopies(1000, 1))); t[i].start(); } for (Thread x : t) x.join();
        System.exit(8);
    }
}
END
javac Main.java || exit 1
for collector in -XX:+UseSerialGC -XX:+UseG1GC; do
    java -Xmx300m $collector -cp . Main "$SCALE"
    echo "status $?"
done
