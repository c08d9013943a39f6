import java.io.File;
import org.apache.avro.Schema;

/** Prints what Java's clients post when they look a schema up: {@code Schema.toString()} of each file. */
public class SchemaText {
    public static void main(String[] files) throws Exception {
        for (var file : files) {
            System.out.println(new Schema.Parser().parse(new File(file)));
        }
    }
}
