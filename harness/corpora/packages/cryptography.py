"""cryptography: Fernet, AES modes, hashes, key derivation, RSA, elliptic curves, certificates made, signed and read back, errors."""
import datetime
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
from cryptography import x509  # noqa: E402
from cryptography.exceptions import InvalidSignature, InvalidTag  # noqa: E402
from cryptography.fernet import Fernet, InvalidToken  # noqa: E402
from cryptography.hazmat.primitives import hashes, hmac, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519  # noqa: E402
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305  # noqa: E402
from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: E402
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC  # noqa: E402

rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
for i in range(40):
    data = b"data %d" % i
    fernet = Fernet(Fernet.generate_key())
    assert fernet.decrypt(fernet.encrypt(data)) == data
    for aead in (AESGCM(bytes(32)), ChaCha20Poly1305(bytes(32))):
        assert aead.decrypt(bytes(12), aead.encrypt(bytes(12), data, b"aad"), b"aad") == data
        try:
            aead.decrypt(bytes(12), bytes(40), None)
            sys.exit("an error was expected")
        except InvalidTag:
            pass
    cipher = Cipher(algorithms.AES(bytes(16)), modes.CTR(bytes(16))).encryptor()
    cipher.update(data) + cipher.finalize()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    digest.copy().finalize()
    mac = hmac.HMAC(b"k", hashes.SHA512())
    mac.update(data)
    mac.verify(mac.copy().finalize())
    HKDF(hashes.SHA256(), 32, None, b"i").derive(data), PBKDF2HMAC(hashes.SHA256(), 32, b"salt", 10).derive(data)
    key = ec.generate_private_key(ec.SECP256R1())
    key.public_key().verify(key.sign(data, ec.ECDSA(hashes.SHA256())), data, ec.ECDSA(hashes.SHA256()))
    ed = ed25519.Ed25519PrivateKey.generate()
    ed.public_key().verify(ed.sign(data), data)
    x25519.X25519PrivateKey.generate().exchange(x25519.X25519PrivateKey.generate().public_key())
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    signature = rsa_key.sign(data, pss, hashes.SHA256())
    rsa_key.public_key().verify(signature, data, pss, hashes.SHA256())
    try:
        rsa_key.public_key().verify(signature, b"other", pss, hashes.SHA256())
        sys.exit("an error was expected")
    except InvalidSignature:
        pass
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw"))
    serialization.load_pem_private_key(pem, b"pw")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "n%d" % i)])
    day = datetime.datetime(2024, 1, 1)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(i + 1)
            .not_valid_before(day).not_valid_after(day + datetime.timedelta(days=9))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256()))
    read = x509.load_pem_x509_certificate(made.public_bytes(serialization.Encoding.PEM))
    assert read.subject == name and read.fingerprint(hashes.SHA256()) and list(read.extensions)
    for wrong, error in ((lambda: fernet.decrypt(b"x"), InvalidToken), (lambda: serialization.load_pem_public_key(b"x"), ValueError),
                         (lambda: algorithms.AES(b"short"), ValueError)):
        try:
            wrong()
            sys.exit("an error was expected")
        except error:
            pass
