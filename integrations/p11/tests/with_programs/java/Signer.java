import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.util.Collections;
import java.util.HexFormat;

/** Signs with keys of a KeyStore: each line of input is an alias and an algorithm; answers hex. */
public class Signer {
    public static void main(String[] args) throws Exception {
        Provider provider = Security.getProvider("SunPKCS11").configure(args[0]);
        Security.addProvider(provider);
        KeyStore store = KeyStore.getInstance("PKCS11", provider);
        store.load(null, args[1].toCharArray());
        System.out.println(String.join(" ", Collections.list(store.aliases())));

        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] words = line.split(" ");
            try {
                PrivateKey key = (PrivateKey) store.getKey(words[0], null);
                System.out.println(HexFormat.of().formatHex(sign(key, words[1], provider)));
            } catch (Exception error) {
                System.out.println(error);
            }
        }
    }

    private static byte[] sign(PrivateKey key, String algorithm, Provider provider) throws Exception {
        Signature signature = Signature.getInstance(algorithm, provider);
        signature.initSign(key);
        if (algorithm.endsWith("SSA-PSS")) {
            signature.setParameter(pss(algorithm));
        }
        signature.update("what a program signs".getBytes());
        return signature.sign();
    }

    /** With a salt as long as the hash: RFC 7518 section 3.5. */
    private static AlgorithmParameterSpec pss(String algorithm) {
        String bits = algorithm.substring("SHA".length(), "SHA".length() + 3);
        String hash = "SHA-" + bits;
        return new PSSParameterSpec(
            hash, "MGF1", new MGF1ParameterSpec(hash), Integer.parseInt(bits) / 8, 1);
    }
}
