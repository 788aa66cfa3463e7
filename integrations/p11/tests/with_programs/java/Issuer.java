import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Signature;
import java.util.HexFormat;

/** Signs as an issuer does whose keystore may be of any type: by an alias, and no provider. */
public class Issuer {
    public static void main(String[] args) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS11");
        try (FileInputStream nothing = new FileInputStream("/dev/null")) {
            store.load(nothing, args[0].toCharArray());
        }
        PrivateKey key = (PrivateKey) store.getKey(args[1], "ignored".toCharArray());
        Signature signature = Signature.getInstance("SHA256withECDSA");
        signature.initSign(key);
        signature.update("what a program signs".getBytes());
        System.out.println(store.getCertificateChain(args[1]).length);
        System.out.println(HexFormat.of().formatHex(signature.sign()));
    }
}
